/**
 * Receives 512 MiB from another process through the io-daemon, and measures the speed and this process's CPU time per
 * 16 KiB. Nearly all of it is Node's own WebSocket, which a page does not use. Plain TCP takes 5 to 7 us
 * (`TcpTransport.bench.ts`).
 *
 * `vitest bench test/bench/IoDaemonTransport.bench.ts`
 */
import { spawn } from "node:child_process"
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as IoDaemonTransport from "../../src/network/provider/io-daemon/IoDaemonTransport.ts"
import { type Connection, Dialer } from "../../src/network/Transport.ts"
import * as Daemon from "../io-daemon/daemon.ts"

const totalBytes = 512 << 20
const blockBytes = 16_384

/** A program that accepts `count` connections and sends `totalBytes` over them. */
const program = `
const block = Buffer.alloc(${blockBytes}, 7)
const server = require("node:net").createServer((socket) => {
  let left = ${totalBytes} / Number(process.argv[1])
  const go = () => {
    while (left > 0) {
      left -= block.length
      if (!socket.write(block)) return socket.once("drain", go)
    }
    socket.end()
  }
  socket.on("error", () => {})
  go()
})
server.listen(0, "127.0.0.1", () => console.log(server.address().port))
`

const connections = Effect.fnUntraced(function* (count: number) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["-e", program, String(count)], { stdio: ["ignore", "pipe", "inherit"] })
    ),
    (child) => Effect.sync(() => child.kill())
  )
  const port = yield* Effect.callback<number>((resume) => {
    child.stdout.once("data", (line) => resume(Effect.succeed(Number(line))))
  })
  const dialer = yield* Dialer
  return yield* Effect.forEach(Array.from({ length: count }), () => dialer.connect({ host: "127.0.0.1", port }))
})

const measure = Effect.fnUntraced(function* (all: ReadonlyArray<Connection>) {
  let bytes = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (const connection of all) {
    connection.receiveUnsafe((view) => {
      bytes += view.length
      return true
    })
  }
  yield* Effect.forEach(all, (connection) => connection.closed, { concurrency: "unbounded" })
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  assert.strictEqual(bytes, totalBytes)
  const perBlock = (user + system) / (totalBytes / blockBytes)
  const megabytes = (process.memoryUsage().rss / (1 << 20)).toFixed(0)
  console.log(
    `${all.length} connections: ${perBlock.toFixed(1)} us a block, ${(bytes / seconds / (1 << 20)).toFixed(0)} MiB/s, ` +
      `${megabytes} MiB resident`
  )
})

Daemon.live("receiving", () => {
  for (const count of [1, 128]) {
    it.live(
      `receives over ${count} connections`,
      () =>
        Effect.gen(function* () {
          for (let run = 0; run < 3; run++) yield* Effect.scoped(Effect.andThen(connections(count), measure))
        }).pipe(Effect.provide(Layer.provide(IoDaemonTransport.layer, Daemon.layer()))),
      60_000
    )
  }
})
