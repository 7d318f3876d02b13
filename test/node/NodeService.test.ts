import { mkdtemp, rm } from "node:fs/promises"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as NodeService from "../../src/node/NodeService.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "piecewise-service-"))),
  (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
)

/** A port of this machine that another program listens on. */
const takenPort = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<Net.Server>((resolve) => {
        const server = Net.createServer().listen(0, "127.0.0.1", () => resolve(server))
      })
  ),
  (server) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
).pipe(Effect.map((server) => (server.address() as Net.AddressInfo).port))

describe("NodeService", () => {
  it.live("says why it cannot listen", () =>
    Effect.gen(function* () {
      const base = yield* folder
      const port = yield* takenPort
      const service = NodeService.layer({
        directory: path.join(base, "downloads"),
        state: path.join(base, "state"),
        http: { port },
        dht: false
      })
      const error = yield* Effect.flip(Layer.build(service))

      assert.strictEqual(error.message, `the service cannot listen on 127.0.0.1: port ${port} is in use`)
    })
  )
})
