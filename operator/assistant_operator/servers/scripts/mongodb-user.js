// Creates the runtime's user, with rights on its own database and no other, or gives it the password of the Secret.
// `db` is a connection that may do so: the image's own at a volume's first start, else the one of mongodb-setup.js.
(() => {
  const name = process.env.RUNTIME_USER;
  const pwd = require('fs').readFileSync(`${process.env.AUTH_FOLDER}/password`, 'utf8').trim();
  const roles = [{ role: 'readWrite', db: process.env.RUNTIME_DATABASE }];
  const admin = db.getSiblingDB('admin');
  if (admin.getUser(name)) {
    admin.updateUser(name, { pwd, roles });
  } else {
    admin.createUser({ user: name, pwd, roles });
  }
})();
