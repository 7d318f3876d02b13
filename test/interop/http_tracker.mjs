// A real HTTP tracker on loopback. Prints one JSON line with its announce URL; ends with its standard input.
import Server from "bittorrent-tracker/server"

const server = new Server({ http: true, udp: false, ws: false, stats: false })

server.on("error", (error) => {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
})
// A request that makes no sense is the client's affair; it is told there.
server.on("warning", (error) => process.stderr.write(`${error.message}\n`))

server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.http.address().port}/announce` })}\n`)
})

process.stdin.resume()
process.stdin.on("end", () => process.exit())
