// Gives the runtime's user the password of the Secret, which a server that runs alone (HOST, host:port) otherwise takes
// at its volume's first start only. It may run at any time and any number of times.
const password = require('fs').readFileSync(`${process.env.AUTH_FOLDER}/root-password`, 'utf8').trim();
const root = `mongodb://root:${encodeURIComponent(password)}@${process.env.HOST}/admin`;

for (let attempt = 1; ; attempt += 1) {
  try {
    db = connect(`${root}?directConnection=true&serverSelectionTimeoutMS=3000`);
    break;
  } catch (error) {
    if (error.codeName === 'AuthenticationFailed') {
      print("MongoDB refuses the root-password of its Secret: put back the one that it knows, or change root's in MongoDB");
      quit(1);
    }
    if (attempt === 120) throw error;
    print(`MongoDB answers: not yet (${error.codeName || error.name})`);
    sleep(1000);
  }
}

load(`${process.env.SCRIPTS_FOLDER}/mongodb-user.js`);
