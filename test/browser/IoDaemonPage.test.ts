/**
 * Uses the io-daemon from a page in a real browser: over `fetch`, from another origin than the daemon's. Only a browser
 * sends preflights before it writes, and hides responses that CORS does not allow.
 */
import * as Net from "node:net"
import { assert, it, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import * as Introduction from "../../src/connect/Introduction.ts"
import * as Preamble from "../../src/connect/Preamble.ts"
import * as NodeDiffieHellman from "../../src/connect/provider/node/NodeDiffieHellman.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import { IoDaemon } from "../../src/io-daemon/IoDaemon.ts"
import * as IoDaemonProtocol from "../../src/io-daemon/IoDaemonProtocol.ts"
import * as IoDaemonProcess from "../../src/io-daemon/node/IoDaemonProcess.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import type { Connection } from "../../src/network/Transport.ts"
import { Dialer, Listener } from "../../src/network/Transport.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as Daemon from "../io-daemon/daemon.ts"
import * as Disk from "../storage/disk.ts"
import * as Chromium from "./chromium.ts"
import * as Encrypted from "./encrypted.ts"
import * as Site from "./site.ts"
import * as Tasks from "./tasks.ts"

class Page extends Context.Service<Page, Site.Site>()("piecewise/test/browser/Page") {
  static readonly layer = Layer.effect(Page, Site.make)
}

/** Starts a daemon with its own folder as root `downloads`. Returns its address and token for a page. */
const startDaemon = Effect.fnUntraced(function* (allowOrigins: ReadonlyArray<string> = []) {
  const folder = yield* Disk.temporaryFolder
  const { program } = Daemon
  const daemon = yield* IoDaemonProcess.make({ program, roots: { downloads: folder }, allowOrigins })
  const { token, url } = yield* daemon.endpoint
  const address: Tasks.DaemonAddress = { url, token: Redacted.value(token) }
  return { folder, address, stats: Effect.provideService(Daemon.stats, IoDaemon, daemon) }
})

/** The part of a successful write's response that a page can read. */
const accepted: Tasks.Answer = { status: 204, kind: null, challenge: null }

/** The files of `registerByte` before and after the byte 0 is written. */
const emptyFile = new Map([["byte.bin", new Uint8Array(0)]])
const byteFile = new Map([["byte.bin", new Uint8Array(1)]])

/**
 * Registers a set of one file of one byte, and creates the file, so that a page can write to it. Returns the set's id.
 */
const registerByte = Effect.fnUntraced(function* ({ token, url }: Tasks.DaemonAddress) {
  const id = "byte"
  const layout = FileLayout.make({ pieceLength: 1, files: [{ path: ["byte.bin"], length: 1 }] })
  const ask = (method: string, route: string, body: string) =>
    Effect.promise(async () => {
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" }
      const response = await fetch(url + route, { method, headers, body })
      await response.text()
      return response.status
    })
  const statuses = [
    yield* ask("PUT", IoDaemonProtocol.setRoute(id), IoDaemonProtocol.registration(layout, "downloads")),
    yield* ask("POST", IoDaemonProtocol.reserveRoute(id), IoDaemonProtocol.reserveBody([0], false)),
    yield* ask("POST", IoDaemonProtocol.claimRoute(id), IoDaemonProtocol.claimsBody([{ file: 0, as: "new" }]))
  ]
  assert.deepStrictEqual(statuses, [201, 204, 200])
  return id
})

/** Starts an echo server until the scope closes. Returns its port. */
const echoServer = Effect.acquireRelease(
  Effect.callback<{ readonly server: Net.Server; readonly sockets: Set<Net.Socket> }>((resume) => {
    const sockets = new Set<Net.Socket>()
    const server = Net.createServer((socket) => {
      sockets.add(socket)
      socket.on("error", () => {}).pipe(socket)
    })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
  }),
  ({ server, sockets }) =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      for (const socket of sockets) socket.destroy()
    })
).pipe(Effect.map(({ server }) => (server.address() as Net.AddressInfo).port))

/** Sends back what a connection delivers. */
const echo = (connection: Connection) =>
  connection.receiveUnsafe((view) => {
    connection.writeUnsafe(view.slice())
    return true
  })

/**
 * Starts an echo server whose first connections are encrypted, both ways: one that it accepts, and one that it dials at
 * the port that is sent over the first, as two bytes. Returns its port.
 */
const encryptingPeer = Effect.gen(function* () {
  const ourselves = Encrypted.ourselves(2)
  const dialer = yield* Dialer
  const listening = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })

  const meet = Effect.gen(function* () {
    const caller = yield* Introduction.accepted(yield* listening.accept)
    const { connection } = yield* Introduction.answer(caller, ourselves)
    const heard = yield* Preamble.read(connection, (view) =>
      view.length < 2 ? undefined : { value: (view[0]! << 8) | view[1]!, rest: view.slice(2) }
    )
    echo(heard.connection)
    const raw = yield* dialer.connect({ host: "127.0.0.1", port: heard.value })
    echo((yield* Introduction.dialled(raw, ourselves, "encrypted")).connection)
  })
  yield* Effect.forkScoped(Encrypted.provide(meet))
  return { port: listening.address.port }
}).pipe(Effect.provide([TcpTransport.layerDialer, TcpTransport.layerListener, NodeDiffieHellman.layer]))

const suite = () =>
  layer(Page.layer, { excludeTestServices: true, timeout: "30 seconds" })("a page in Chromium", (it) => {
    for (const host of Site.hosts) {
      it.effect(`stores a torrent from http://${host} with one request per piece and at most two preflights`, () =>
        Effect.gen(function* () {
          const known = yield* KnownTorrent.make(Tasks.torrent)
          const { address, folder, stats } = yield* startDaemon()
          const before = yield* stats
          const at = { prepared: before, written: before }

          const result = yield* (yield* Page).visit(
            host,
            { name: "store", needs: { daemon: address, root: "downloads" } },
            (step) =>
              Effect.map(stats, (now) => {
                at[step] = now
              })
          )

          const after = yield* stats
          const { prepared, written } = at
          const preflights = written.preflights - prepared.preflights
          const requests = written.writeRequests - prepared.writeRequests
          const say = (line: string) => console.log(`Chromium at http://${host}: ${line}`)
          say(`write requests per piece: ${(requests / Tasks.pieceCount).toFixed(1)} (${Tasks.pieceCount} pieces)`)
          say(`preflights for all writes: ${preflights}`)
          say(`preflights before the writes, to register and prepare: ${prepared.preflights}`)
          say(
            `preflights after the writes, to flush, read, digest and forget: ${after.preflights - written.preflights}`
          )
          assert.deepStrictEqual(result, { readBack: Tasks.pieceCount, digested: Tasks.pieceCount })
          assert.strictEqual(requests, Tasks.pieceCount)
          assert.strictEqual(written.writes - prepared.writes, Tasks.pieceCount)
          assert.isAtMost(preflights, 2)
          assert.strictEqual(after.sets, 0)
          const expected = known.metainfo.layout.files.flatMap(({ padding, path }, index) =>
            padding ? [] : [[path.join("/"), known.fileContent(index)] as const]
          )
          assert.deepStrictEqual(Disk.listFiles(folder), new Map(expected))
        }).pipe(Effect.provide(NodePieceHasher.layer))
      )
    }

    it.effect("can read the 401 response without a token and with a wrong one", () =>
      Effect.gen(function* () {
        const { address, folder, stats } = yield* startDaemon()
        const set = yield* registerByte(address)
        const page = yield* Page
        const write = (token?: { readonly token: string }) =>
          page.visit("127.0.0.1", { name: "writeByte", needs: { url: address.url, set, ...token } })

        const withoutToken = yield* write()
        const withWrongToken = yield* write({ token: `${address.token}x` })
        const filesBefore = Disk.listFiles(folder)
        const withToken = yield* write(address)

        const refusal = { status: 401, kind: "unauthorized", challenge: "Bearer" }
        assert.deepStrictEqual(withoutToken, refusal)
        assert.deepStrictEqual(withWrongToken, refusal)
        assert.strictEqual((yield* stats).unauthorized, 2)
        assert.deepStrictEqual(filesBefore, emptyFile)
        assert.deepStrictEqual(withToken, accepted)
        assert.deepStrictEqual(Disk.listFiles(folder), byteFile)
      })
    )

    it.effect("sees only a network error if its origin is not allowed, and writes nothing", () =>
      Effect.gen(function* () {
        const page = yield* Page
        const { address, folder, stats } = yield* startDaemon([`http://localhost:${page.port}`])
        const set = yield* registerByte(address)
        const write = (host: Site.Host) => page.visit(host, { name: "writeByte", needs: { ...address, set } })

        const other = yield* write("127.0.0.1")
        const afterOther = yield* stats
        const filesBefore = Disk.listFiles(folder)
        const allowed = yield* write("localhost")

        assert.deepStrictEqual(other, { networkError: "TypeError: Failed to fetch" })
        assert.strictEqual(afterOther.writeRequests, 0)
        assert.deepStrictEqual(filesBefore, emptyFile)
        assert.deepStrictEqual(allowed, accepted)
        assert.deepStrictEqual(Disk.listFiles(folder), byteFile)
      })
    )

    it.effect("connects to a peer through the daemon's sockets", () =>
      Effect.gen(function* () {
        const { address } = yield* startDaemon()
        const port = yield* echoServer
        const length = 1 << 20

        const right = yield* (yield* Page).visit("127.0.0.1", {
          name: "echo",
          needs: { daemon: address, port, length }
        })

        assert.strictEqual(right, length)
      })
    )

    it.effect("encrypts connections to peers and from them, which use another implementation of its keys", () =>
      Effect.gen(function* () {
        const { address } = yield* startDaemon()
        const peer = yield* encryptingPeer
        const length = 1 << 20

        const page = yield* Page
        const right = yield* page.visit("127.0.0.1", { name: "encrypt", needs: { daemon: address, ...peer, length } })

        assert.deepStrictEqual(right, { dialled: length, accepted: length, hasModule: true })
      })
    )
  })

const { CI } = process.env
const isWanted = Chromium.program !== undefined || CI === "true"

if (isWanted) Daemon.live("a page in Chromium", suite)
else it.skip("a page in Chromium: not found on the PATH or in CHROMIUM", () => {})
