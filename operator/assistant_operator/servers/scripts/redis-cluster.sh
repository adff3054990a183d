# Forms a Redis Cluster of the servers given as arguments (address:port ...), one replica to each master, or mends it.
#
# Servers that came back with another address are introduced to the others again, servers that are gone for good are
# forgotten, replicas take over from lost masters that no vote can replace, slots that nobody serves are given to a
# master, and a server without slots becomes the replica of the master that has the fewest. It may run at any time and
# any number of times. REDISCLI_AUTH holds the password.
set -eu

ask() { # ask ADDRESS:PORT WORD...
  node=$1
  shift
  redis-cli -h "${node%:*}" -p "${node##*:}" "$@"
}

until_holds() { # until_holds WHAT COMMAND...: wait a minute at most
  what=$1
  shift
  for _ in $(seq 60); do
    if "$@"; then return 0; fi
    sleep 1
  done
  echo "$what: not within a minute" >&2
  return 1
}

info() { ask "$1" cluster info | tr -d '\r' | sed -n "s/^$2://p"; }
id_of() { ask "$1" cluster myid; }
answers() { [ "$(ask "$1" ping 2>/dev/null)" = PONG ]; }
serves() { [ "$(info "$1" cluster_state)" = ok ] && [ "$(info "$1" cluster_slots_assigned)" = 16384 ]; }
knows_all() { for id in $ids; do ask "$1" cluster nodes | grep -q "^$id [^ ]* [^ ]* [^ ]* .* connected" || return 1; done; }

each() { # each COMMAND: whether it holds for every server
  for server in $servers; do "$1" "$server" || return 1; done
}

# A line of `cluster nodes`: id address flags master ping pong epoch link slots...
masters() { ask "$1" cluster nodes | awk '$3 ~ /master/ && $3 !~ /fail|noaddr|handshake/ && NF > 8 { print $1 }'; }
replicas() { ask "$1" cluster nodes | grep -c "slave.* $2 " || true; }

form() { # of servers without data; it fails where one still knows another
  for server in $servers; do is_blank "$server" || ask "$server" cluster reset hard >/dev/null; done
  # shellcheck disable=SC2086 # the servers are words
  each is_blank && redis-cli --cluster create $servers --cluster-replicas 1 --cluster-yes
}
is_blank() { [ "$(ask "$1" cluster nodes | awk '{ print (NF > 8) ? "slots" : "server" }')" = server ]; }

introduce() {
  for one in $servers; do
    for other in $servers; do
      [ "$one" = "$other" ] || ask "$one" cluster meet "${other%:*}" "${other##*:}" >/dev/null
    done
  done
  until_holds "every server knows every other" each knows_all
}

take_over() { # replicas whose master is none of the servers: no vote will replace it if most masters are gone
  for server in $servers; do
    master=$(ask "$server" cluster nodes | awk '$3 ~ /myself,slave/ { print $4 }')
    case " $ids " in *" ${master:-$(id_of "$server")} "*) continue ;; esac
    echo "$server takes over from $master"
    ask "$server" cluster failover takeover >/dev/null
    until_holds "$server is a master" is_master "$server"
  done
}
is_master() { ask "$1" role | head -n 1 | grep -q master; }

forget_lost() {
  for lost in $(ask "$first" cluster nodes | awk '{ print $1 }'); do
    case " $ids " in *" $lost "*) continue ;; esac
    echo "$lost is gone for good"
    for server in $servers; do ask "$server" cluster forget "$lost" >/dev/null; done
  done
}

attach() { # servers without slots become replicas
  for server in $servers; do
    id=$(id_of "$server")
    ask "$server" cluster nodes | awk '$3 ~ /myself,master/ && NF <= 8' | grep -q . || continue
    fewest=$(for master in $(masters "$first"); do echo "$(replicas "$first" "$master") $master"; done | sort -n | head -n 1)
    [ -n "$fewest" ] || continue
    echo "$server becomes a replica of ${fewest#* }"
    ask "$server" cluster replicate "${fewest#* }" >/dev/null
    until_holds "$first knows the replica" is_replica "$id" "${fewest#* }"
  done
}
is_replica() { ask "$first" cluster nodes | grep -q "^$1 .*slave $2 "; }

servers=$*
until_holds "every server answers" each answers
ids=$(for server in $servers; do id_of "$server"; done | tr '\n' ' ')
formed=''
empty=yes
for server in $servers; do
  if [ -z "$formed" ] && [ "$(info "$server" cluster_slots_assigned)" != 0 ]; then formed=$server; fi
  [ "$(ask "$server" dbsize)" = 0 ] || empty=''
done
if [ -n "$formed" ] && [ -n "$empty" ] && [ "$(info "$formed" cluster_slots_assigned)" != 16384 ]; then
  echo "The forming was interrupted: it begins anew, for there is no data yet"
  formed=''
fi

if [ -z "$formed" ] && [ -n "$empty" ]; then
  # A greeting that was under way makes a server known again after its reset, at any time: so each try begins anew.
  until_holds "the servers form a cluster" form
elif [ -z "$formed" ]; then
  echo "The servers hold data and no slots: forming a cluster would lose the data" >&2
  exit 1
else
  first=$formed
  introduce
  take_over
  forget_lost
  if ! until_holds "every slot is served" each serves; then
    redis-cli --cluster fix "$first" --cluster-yes
  fi
  attach
fi
until_holds "every server is part of a whole cluster" each serves
