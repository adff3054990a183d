# Before this server is stopped: if it is a master, a replica takes its place, without a write being lost.
#
# A failure here only means that the others notice the loss themselves, some seconds later.
address() { redis-cli cluster nodes | awk -v master="$1" '$4 == master && $8 == "connected" { split($2, a, "@"); print a[1] }'; }

redis-cli role | head -n 1 | grep -q master || exit 0
for replica in $(address "$(redis-cli cluster myid)"); do
  redis-cli -h "${replica%:*}" -p "${replica##*:}" cluster failover || continue
  for _ in $(seq 10); do
    redis-cli role | head -n 1 | grep -q slave && exit 0
    sleep 1
  done
done
exit 0
