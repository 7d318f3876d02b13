// A real tracker at the address in its argument, over HTTP and UDP. Prints one JSON line with its announce URLs. Ends
// when standard input closes.
import Server from "bittorrent-tracker/server"

const [, , host] = process.argv

// Both of its UDP sockets are IPv4, because every machine has that.
const server = new Server({ udp: { type: "udp4" }, ws: false, stats: false })

server.on("error", (error) => {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
})
// A malformed request is the client's error. The tracker reports it to the client, and it is logged here.
server.on("warning", (error) => process.stderr.write(`${error.message}\n`))

const urlOf = (scheme, socket) => `${scheme}://${host}:${socket.address().port}/announce`

server.listen(0, host, () => {
  process.stdout.write(`${JSON.stringify({ http: urlOf("http", server.http), udp: urlOf("udp", server.udp4) })}\n`)
})

process.stdin.resume()
process.stdin.on("end", () => process.exit())
