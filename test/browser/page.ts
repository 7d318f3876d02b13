/**
 * The script of the page: fetches its task from its site, does it, and reports the result. It uses only what pages and
 * Node have in common, so it is checked with Node's types.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../src/base/Bytes.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Introduction from "../../src/connect/Introduction.ts"
import * as Rc4Module from "../../src/connect/mse/Rc4Module.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as IoDaemon from "../../src/io-daemon/IoDaemon.ts"
import * as IoDaemonProtocol from "../../src/io-daemon/IoDaemonProtocol.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as IoDaemonTransport from "../../src/network/provider/io-daemon/IoDaemonTransport.ts"
import type { Connection } from "../../src/network/Transport.ts"
import { Dialer, Listener } from "../../src/network/Transport.ts"
import * as IoDaemonStorage from "../../src/storage/provider/io-daemon/IoDaemonStorage.ts"
import { Storage } from "../../src/storage/Storage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as Encrypted from "./encrypted.ts"
import * as Tasks from "./tasks.ts"

/** Writes in flight at once, as many peers would finish them. More than the storage allows at once. */
const concurrency = 16

const post = (path: "/step" | "/report", body: string) => Effect.promise(() => fetch(path, { method: "POST", body }))

const step = (name: Tasks.Step) => post("/step", name)

const daemonAt = ({ token, url }: Tasks.DaemonAddress) => IoDaemon.layer({ url, token: Redacted.make(token) })

const store = Effect.fnUntraced(function* ({ daemon, root }: Tasks.Tasks["store"]["needs"]) {
  const layer = IoDaemonStorage.layer({ root }).pipe(
    Layer.provide([daemonAt(daemon), FetchHttpClient.layer]),
    Layer.provideMerge(WebCryptoPieceHasher.layer)
  )
  return yield* Effect.provide(storeWith, layer)
})

const storeWith = Effect.gen(function* () {
  const known = yield* KnownTorrent.make(Tasks.torrent)
  const { infoHash, layout } = known.metainfo
  const files = FileLayout.realFiles(layout)
  const pieces = Array.from({ length: layout.geometry.pieceCount }, (_, index) =>
    PieceGeometry.pieceIndexUnsafe(layout.geometry, index)
  )
  const torrent = yield* (yield* Storage).open({ infoHash, layout })

  yield* torrent.prepare(files)
  yield* torrent.reserve(files)
  yield* torrent.claim(files.map((file) => ({ file, as: "new" })))
  yield* step("prepared")
  yield* Effect.forEach(pieces, (piece) => torrent.writePiece(piece, known.content(piece)), {
    concurrency,
    discard: true
  })
  yield* step("written")
  yield* torrent.flush(files)

  let readBack = 0
  const read = Effect.fnUntraced(function* (piece: PieceGeometry.PieceIndex) {
    const { bytes } = yield* torrent.readBlock(piece, 0, PieceGeometry.pieceSize(layout.geometry, piece))
    if (Bytes.equals(bytes, known.content(piece))) readBack++
  })
  yield* Effect.forEach(pieces, read, { concurrency, discard: true })

  let digested = 0
  yield* Stream.runForEach(torrent.digests(pieces), ({ piece, sha1 }) =>
    Effect.sync(() => {
      if (sha1 !== undefined && Bytes.equals(sha1, Metainfo.pieceDigest(known.metainfo, piece))) digested++
    })
  )
  return { readBack, digested }
})

const writeByte = Effect.fnUntraced(function* ({ set, token, url }: Tasks.Tasks["writeByte"]["needs"]) {
  const byte = new Uint8Array(1)
  const sha1 = new Uint8Array(yield* Effect.promise(() => crypto.subtle.digest("SHA-1", byte)))
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    "content-range": IoDaemonProtocol.contentRange(0, byte.length),
    "content-digest": IoDaemonProtocol.contentDigest(sha1)
  }
  const ask = async (): Promise<Tasks.Answer> => {
    const response = await fetch(url + IoDaemonProtocol.writeRoute(set), { method: "POST", headers, body: byte })
    const { status } = response
    const kind = response.ok ? null : IoDaemonProtocol.decodeRefusal(status, await response.text()).kind
    return { status, kind, challenge: response.headers.get("www-authenticate") }
  }
  return yield* Effect.tryPromise({ try: ask, catch: String }).pipe(
    Effect.catch((networkError) => Effect.succeed<Tasks.Answer>({ networkError }))
  )
})

const echo = Effect.fnUntraced(function* ({ daemon, length, port }: Tasks.Tasks["echo"]["needs"]) {
  const layer = IoDaemonTransport.layer.pipe(Layer.provide(daemonAt(daemon)))
  return yield* Effect.provide(echoThrough(port, length), layer)
})

const echoThrough = Effect.fnUntraced(function* (port: number, length: number) {
  return yield* echoOver(yield* (yield* Dialer).connect({ host: "127.0.0.1", port }), length)
})

const echoOver = Effect.fnUntraced(function* (connection: Connection, length: number) {
  const sent = new Uint8Array(length)
  KnownTorrent.fill(sent, 0, 1)

  const all = Deferred.makeUnsafe<void>()
  let come = 0
  let right = 0
  connection.receiveUnsafe((view) => {
    for (const byte of view) if (byte === sent[come++]) right++
    if (come >= length) Deferred.doneUnsafe(all, Exit.void)
    return true
  })
  for (let begin = 0; begin < length; begin += PieceGeometry.blockLength) {
    if (!connection.writeUnsafe(sent.slice(begin, begin + PieceGeometry.blockLength))) yield* connection.drained
  }
  yield* Effect.raceFirst(Deferred.await(all), connection.closed)
  return right
})

const encrypt = Effect.fnUntraced(function* ({ daemon, length, port }: Tasks.Tasks["encrypt"]["needs"]) {
  const layer = IoDaemonTransport.layer.pipe(Layer.provide(daemonAt(daemon)))
  return yield* Encrypted.provide(Effect.provide(encryptThrough(port, length), layer))
})

const encryptThrough = Effect.fnUntraced(function* (port: number, length: number) {
  const ourselves = Encrypted.ourselves(1)
  const listening = yield* (yield* Listener).listen({ host: "127.0.0.1", port: 0 })
  const raw = yield* (yield* Dialer).connect({ host: "127.0.0.1", port })
  const dialled = yield* Introduction.dialled(raw, ourselves, "encrypted")
  dialled.connection.writeUnsafe(Uint8Array.of(listening.address.port >> 8, listening.address.port))
  const caller = yield* Introduction.accepted(yield* listening.accept)
  const accepted = yield* Introduction.answer(caller, ourselves)
  return {
    dialled: yield* echoOver(dialled.connection, length),
    accepted: yield* echoOver(accepted.connection, length),
    hasModule: Rc4Module.make() !== undefined
  }
})

const perform = (task: Tasks.Task): Effect.Effect<unknown, unknown, Scope.Scope> => {
  switch (task.name) {
    case "store":
      return store(task.needs)
    case "writeByte":
      return writeByte(task.needs)
    case "echo":
      return echo(task.needs)
    case "encrypt":
      return encrypt(task.needs)
  }
}

Effect.promise(async () => (await fetch("/task")).json() as Promise<Tasks.Task>).pipe(
  Effect.flatMap((task) => Effect.scoped(perform(task))),
  Effect.exit,
  Effect.map(
    Exit.match({
      onFailure: (cause): Tasks.Report => ({ failure: Cause.pretty(cause) }),
      onSuccess: (knows): Tasks.Report => ({ knows })
    })
  ),
  Effect.flatMap((report) => post("/report", JSON.stringify(report))),
  Effect.runFork
)
