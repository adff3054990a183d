# Gives the user the password of the Secret, which a volume from before that Secret does not know.
#
# The image's own file of rules trusts connections by the socket, and psql takes the password from a file, so that it is
# in no argument list. Waits for the server's start, ten minutes at most; after that the probes tell what is wrong.
for attempt in $(seq 300); do
  psql --quiet --no-psqlrc --no-password --dbname=postgres --set=ON_ERROR_STOP=1 <<'SQL' && exit 0
\set user `echo "$POSTGRES_USER"`
\set password `cat "$POSTGRES_PASSWORD_FILE"`
ALTER ROLE :"user" PASSWORD :'password';
SQL
  sleep 2
done
