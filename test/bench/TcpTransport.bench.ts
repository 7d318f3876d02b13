/**
 * Reads 512 MiB over loopback from another process, and measures this process's CPU time per 16 KiB, the most reliable
 * figure on a shared machine. For comparison, a bare `net.Socket` takes 10 to 14 us with `data` events, and 3 to 7 us
 * with its own read buffer.
 *
 * `vitest bench test/bench/TcpTransport.bench.ts`
 */

import { spawn } from "node:child_process"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import { type Connection, Dialer, Listener } from "../../src/network/Transport.ts"

const totalBytes = 512 << 20
const blockBytes = 16_384

/** A program that sends `totalBytes` over `count` connections, which it either accepts or opens to `port`. */
const program = `
const net = require("node:net")
const [count, port] = process.argv.slice(1).map(Number)
const block = Buffer.alloc(${blockBytes}, 7)
const feed = (socket) => {
  let left = ${totalBytes} / count
  const go = () => {
    while (left > 0) {
      left -= block.length
      if (!socket.write(block)) return socket.once("drain", go)
    }
    socket.end()
  }
  socket.on("error", () => {})
  go()
}
if (port > 0) for (let i = 0; i < count; i++) net.connect(port, "127.0.0.1", function () { feed(this) })
else {
  const server = net.createServer(feed)
  server.listen(0, "127.0.0.1", () => console.log(server.address().port))
}
`

const sender = (count: number, port: number) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["-e", program, String(count), String(port)], { stdio: ["ignore", "pipe", "inherit"] })
    ),
    (child) => Effect.sync(() => child.kill())
  )

const measure = Effect.fnUntraced(function* (title: string, connections: ReadonlyArray<Connection>) {
  let bytes = 0
  let reads = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (const connection of connections) {
    connection.receiveUnsafe((view) => {
      bytes += view.length
      reads++
      return true
    })
  }
  yield* Effect.forEach(connections, (connection) => connection.closed, { concurrency: "unbounded" })
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  assert.strictEqual(bytes, totalBytes)
  const perBlock = (user + system) / (totalBytes / blockBytes)
  console.log(
    `${title}: ${perBlock.toFixed(1)} us a block, ${(bytes / seconds / (1 << 20)).toFixed(0)} MiB/s, ${reads} reads, ` +
      `${(process.memoryUsage().rss / (1 << 20)).toFixed(0)} MiB resident`
  )
})

const outgoing = Effect.fnUntraced(function* (count: number) {
  const child = yield* sender(count, 0)
  const port = yield* Effect.callback<number>((resume) => {
    child.stdout.once("data", (line) => resume(Effect.succeed(Number(line))))
  })
  const dialer = yield* Dialer
  return yield* Effect.forEach(Array.from({ length: count }), () => dialer.connect({ host: "127.0.0.1", port }))
})

const incoming = Effect.fnUntraced(function* (count: number) {
  const listening = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0, backlog: count })
  yield* sender(count, listening.address.port)
  return yield* Effect.forEach(Array.from({ length: count }), () => listening.accept)
})

for (const count of [1, 128]) {
  it.live(
    `reads over ${count} connections`,
    () =>
      Effect.gen(function* () {
        for (let run = 0; run < 3; run++) {
          yield* Effect.scoped(Effect.andThen(outgoing(count), (all) => measure(`${count} outgoing`, all)))
          yield* Effect.scoped(Effect.andThen(incoming(count), (all) => measure(`${count} incoming`, all)))
        }
      }).pipe(Effect.provide(TcpTransport.layer)),
    60_000
  )
}
