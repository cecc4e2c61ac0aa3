# What all images of the lab stand on: debian:trixie plus this machine's own certificate authorities, without documentation.
FROM debian:trixie
COPY ca /usr/local/share/ca-certificates
RUN printf 'path-exclude=/usr/share/%s/*\n' doc man locale > /etc/dpkg/dpkg.cfg.d/slim \
 && if command -v update-ca-certificates >/dev/null; then update-ca-certificates; \
    else apt-get update -q && apt-get install -y -q ca-certificates; fi
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
