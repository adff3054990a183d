# Starts one member of a replica set.
#
# mongod refuses a key file that its group may read, which a Secret's files always are for a user that is not root: so it
# gets a copy. Only the first member makes the root user; the others get it, as all data, from the set.
set -eu
umask 077
cat /etc/mongodb/auth/keyfile >/run/mongodb/keyfile
case "$POD_NAME" in
*-0) ;;
*) unset MONGO_INITDB_ROOT_USERNAME MONGO_INITDB_ROOT_PASSWORD_FILE ;;
esac
exec docker-entrypoint.sh mongod --replSet "$REPLICA_SET" --keyFile /run/mongodb/keyfile \
  --ipv6 --bind_ip "127.0.0.1,$POD_IP"
