# The server with Debian's PostgreSQL for embedded mode.
#
#   docker build -t acme-server .
#   docker run -e ACME_SERVER__SERVER__EXTERNAL_URL=https://acme.example.org:14000 \
#       -v acme-server:/var/lib/acme-server -p 14000:14000 -p 14080:14080 acme-server
#
# Every key can be set by environment; a file mounted at /etc/acme-server/config.yaml is read too.

FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY deploy/requirements.txt deploy/requirements-build.txt deploy/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r deploy/requirements-build.txt \
    && python3 -m venv /opt/acme-server \
    && /opt/acme-server/bin/pip install --no-cache-dir --require-hashes -r deploy/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY policy policy
COPY validators validators
COPY storage storage
COPY acme_server acme_server
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation -w /build/wheels . \
    && /opt/acme-server/bin/pip install --no-cache-dir --no-deps --no-index --find-links /build/wheels acme-server \
    && /opt/acme-server/bin/python -m compileall -q /opt/acme-server/lib

FROM python:3.13-slim-trixie
# The package would make a cluster of its own; the server makes one in its data directory.
RUN mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && apt-get install -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 acme-server \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/acme-server --no-create-home \
        --shell /usr/sbin/nologin acme-server \
    && install -d -o 10001 -g 10001 -m 0711 /var/lib/acme-server
COPY --from=build /opt/acme-server /opt/acme-server
COPY --chmod=0755 deploy/container-entrypoint /usr/local/bin/container-entrypoint
ENV PATH=/opt/acme-server/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    ACME_SERVER__DATA_DIR=/var/lib/acme-server \
    ACME_SERVER__SERVER__LISTEN=0.0.0.0:14000 \
    ACME_SERVER__SERVER__STATUS_LISTEN=0.0.0.0:14080
USER 10001:10001
WORKDIR /var/lib/acme-server
VOLUME /var/lib/acme-server
EXPOSE 14000 14080
STOPSIGNAL SIGTERM
# The process only: a server whose database is away must not be killed for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:14090/healthz', timeout=4)"]
ENTRYPOINT ["container-entrypoint"]
CMD ["run"]
