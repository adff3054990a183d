// Forms a replica set of the servers in MEMBERS (host:port,...), adds those that it lacks, and sees to the runtime's
// user. It may run at any time and any number of times: what is done already is left as it is.
const members = process.env.MEMBERS.split(',');
const replicaSet = process.env.REPLICA_SET;
const password = require('fs').readFileSync(`${process.env.AUTH_FOLDER}/root-password`, 'utf8').trim();
const REFUSED = "MongoDB refuses the root-password of its Secret: put back the one that it knows, or change root's in MongoDB";
const root = `root:${encodeURIComponent(password)}@`;

function until(what, holds) {
  for (let attempt = 0; attempt < 120; attempt += 1) {
    try {
      const found = holds();
      if (found) return found;
    } catch (error) {
      if (error.codeName === 'AuthenticationFailed') throw new Error(REFUSED);
      print(`${what}: not yet (${error.codeName || error.name})`);
    }
    sleep(1000);
  }
  throw new Error(`${what}: not within two minutes`);
}

function direct(host, user = '') {
  return connect(`mongodb://${user}${host}/admin?directConnection=true&serverSelectionTimeoutMS=3000`);
}

function initiate(config) {
  try {
    return direct(members[0], root).adminCommand({ replSetInitiate: config }).ok;
  } catch (error) {
    // A member that has just started may not have read yet that it is in a set.
    if (error.codeName === 'AlreadyInitialized') return true;
    throw error;
  }
}

const greetings = members.map((host) => [host, until(`${host} answers`, () => direct(host).hello())]);
const joined = greetings.filter(([, hello]) => hello.setName).map(([host]) => host);

if (joined.length === 0) {
  // The first member holds the root user; the others hold nothing, as a new set's other members must.
  const config = { _id: replicaSet, members: members.map((host, index) => ({ _id: index, host })) };
  until('the set is initiated', () => initiate(config));
}

const seeds = (joined.length ? joined : members).join(',');
db = until('the set has a primary', () => {
  const found = connect(`mongodb://${root}${seeds}/admin?replicaSet=${replicaSet}&serverSelectionTimeoutMS=3000`);
  return found.hello().isWritablePrimary && found;
});

for (const host of members) {
  // One at a time: a set takes one change of its voting members, and then the next.
  until(`${host} is a member`, () => {
    const { config } = db.adminCommand({ replSetGetConfig: 1 });
    if (config.members.some((member) => member.host === host)) return true;
    const id = Math.max(...config.members.map((member) => member._id)) + 1;
    config.members.push({ _id: id, host });
    config.version += 1;
    return db.adminCommand({ replSetReconfig: config }).ok;
  });
}

load(`${process.env.SCRIPTS_FOLDER}/mongodb-user.js`);
