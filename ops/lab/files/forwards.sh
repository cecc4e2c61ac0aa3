#!/bin/sh
# The ports of the lab on this machine's loopback, $FORWARDS (PORT:ADDRESS:PORT words), and no others.
set -eu
for unit in $(systemctl list-units --all --plain --no-legend 'lab-forward@*' | cut -d' ' -f1); do
    name=${unit#lab-forward@}
    case " $FORWARDS " in *" ${name%.service} "*) ;; *) systemctl disable --now -q "$unit" ;; esac
done
for forward in $FORWARDS; do
    if systemctl is-active -q "lab-forward@$forward"; then continue; fi
    systemctl enable --now -q "lab-forward@$forward"
    echo "forwards ${forward%%:*}"
done
