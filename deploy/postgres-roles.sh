#!/bin/sh
# Makes the two roles of the database: one that migrates, one that serves.
set -eu

psql --set ON_ERROR_STOP=1 --username postgres --dbname acme_server \
    --set owner_password="$(cat /run/secrets/owner_password)" \
    --set application_password="$(cat /run/secrets/application_password)" <<'SQL'
CREATE ROLE acme_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE acme_app LOGIN PASSWORD :'application_password';
ALTER DATABASE acme_server OWNER TO acme_owner;
ALTER SCHEMA public OWNER TO acme_owner;
SQL
