# node: files, streams, timers, a child process, an HTTP server on the loopback
cat > x.js <<'END'
const fs = require('fs'), http = require('http'), cp = require('child_process'), crypto = require('crypto');
fs.writeFileSync('t', 'line\n'.repeat(1000));
console.log(fs.statSync('t').size, crypto.createHash('sha256').update(fs.readFileSync('t')).digest('hex').slice(0, 16));
console.log(cp.execSync('echo from sh | tr a-z A-Z').toString().trim());
const server = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
server.listen(0, '127.0.0.1', () => {
  http.get({port: server.address().port, path: '/a'}, response => {
    let text = '';
    response.on('data', piece => text += piece).on('end', () => { console.log(response.statusCode, text); server.close(); });
  });
});
Promise.all([10, 5, 1].map(ms => new Promise(done => setTimeout(() => done(ms), ms)))).then(all => console.log(all.join()));
END
node x.js
