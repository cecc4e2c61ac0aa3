#!/bin/bash
# s3 init: at the image's build, makes the cluster and packs it into /seed.tar.gz.
# s3 run:  starts it. Its state lies in /var/lib/ceph (a volume); certificate, its key and the owner's two S3 keys are mounted at /etc/lab.
set -eu -o pipefail
state=/var/lib/ceph
gateway=$state/lab
admin() { radosgw-admin -n client.rgw.a "$@" 2>/dev/null; }
listens() {
    for _ in {1..1200}; do
        if (: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        kill -0 "$2" || exit 1
        sleep 0.05
    done
    exit 1
}
start_mon() {
    mkdir -p /var/run/ceph /var/log/ceph
    rm -f /var/log/ceph/*.log
    ceph-mon -f -i a &
    mon=$!
    listens 3300 $mon
}
# What the monitor believes to be up is stale after a crash, the OSD's own log is not; a gateway started earlier loses 5 s in a retry.
start_osd() {
    ceph-osd -f -i 0 2>/dev/null &
    osd=$!
    until grep -qs 'state: booting -> active' /var/log/ceph/osd.0.log; do
        kill -0 $osd || exit 1
        sleep 0.05
    done
}
end() {
    kill "$1" || true
    wait "$1" || true
}
init() {
    mkdir -p $gateway $state/mon/ceph-a $state/osd/ceph-0
    ceph-authtool -C $gateway/keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    ceph-authtool $gateway/keyring --gen-key -n client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx' --cap mgr 'allow rw'
    cp $gateway/keyring /tmp/mon.keyring
    ceph-authtool /tmp/mon.keyring --gen-key -n mon. --cap mon 'allow *'
    monmaptool --create --addv a '[v2:127.0.0.1:3300,v1:127.0.0.1:6789]' --fsid "$(awk '/^fsid/ {print $3}' /etc/ceph/ceph.conf)" /tmp/monmap
    ceph-mon --mkfs -i a --monmap /tmp/monmap --keyring /tmp/mon.keyring
    start_mon
    id=$(cat /proc/sys/kernel/random/uuid)
    ceph-authtool -C $state/osd/ceph-0/keyring --gen-key -n osd.0
    printf '{"cephx_secret": "%s"}' "$(ceph-authtool -p -n osd.0 $state/osd/ceph-0/keyring)" | ceph osd new "$id" -i -
    ceph-osd -i 0 --mkfs --osd-uuid "$id" 2>/dev/null
    start_osd
    admin user create --uid=lab --display-name=lab --gen-access-key=false --gen-secret=false >/dev/null
    # The region that buckets may name as their place.
    admin zonegroup modify --rgw-zonegroup=default --api-name=eu-central-1 >/dev/null
    for pool in index data non-ec; do
        ceph osd pool create default.rgw.buckets.$pool
        ceph osd pool application enable default.rgw.buckets.$pool rgw
    done
    end "$osd"
    end "$mon"
    chown -R root:root $state
    tar -C $state -S -czf /seed.tar.gz lab mon osd
    find $state /var/log/ceph -mindepth 1 -delete
}
unpack() {
    if [ -e $state/whole ]; then return; fi
    find $state -mindepth 1 -delete
    tar -C $state --no-same-owner -xzf /seed.tar.gz
    touch $state/whole
}
# The owner's keys become those mounted, whatever they were. As metadata from stdin: arguments would show the secret in `ps`.
set_keys() {
    now=$(cat /etc/lab/access-key /etc/lab/secret-key | sha256sum)
    if [ "$(cat $gateway/keys 2>/dev/null)" = "$now" ]; then return; fi
    admin metadata get user:lab | python3 -c '
import json, pathlib, sys
user, folder = json.load(sys.stdin), pathlib.Path("/etc/lab")
access, secret = ((folder / name).read_text().strip() for name in ("access-key", "secret-key"))
user["data"]["keys"] = [{"user": "lab", "access_key": access, "secret_key": secret, "active": True}]
user["ver"]["ver"] += 1
json.dump(user, sys.stdout)' | admin metadata put user:lab
    echo "$now" >$gateway/keys
}
run() {
    unpack
    python3 /usr/local/lib/transit.py &
    transit=$!
    start_mon
    start_osd
    set_keys
    radosgw -n client.rgw.a -f --rgw-frontends='beast endpoint=127.0.0.1:8000 ssl_port=8443 ssl_certificate=/etc/lab/s3.pem ssl_private_key=/etc/lab/s3.key' 2>/dev/null &
    rgw=$!
    trap stop TERM INT
    wait -n $rgw $osd $mon || true
    echo 's3: a daemon died'
    exit 1
}
# The gateway waits long for idle connections; what it has answered is in the OSD already.
stop() {
    (sleep 2 && kill -KILL "$rgw") 2>/dev/null &
    end "$rgw"
    end "$osd"
    end "$transit"
    end "$mon"
    exit 0
}
"${1:-run}"
