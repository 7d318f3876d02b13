import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as TestClock from "effect/testing/TestClock"
import type { Connection } from "../../src/network/Transport.ts"
import * as PeerRequests from "../../src/peer/PeerRequests.ts"
import * as UploadSession from "../../src/peer/UploadSession.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import * as RateLimits from "../../src/rate/RateLimits.ts"
import type { TorrentStorage } from "../../src/storage/Storage.ts"
import { NotStored, StorageError, StorageUnavailable } from "../../src/storage/Storage.ts"
import * as WireMessage from "../../src/testing/WireMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import { block, bytesOf, connect, geometry, heard, makeAssembly, say, test } from "./protocols.ts"
import * as Uploads from "./uploads.ts"

const request = (index: number, at: number, length = block): WireMessage.WireMessage => ({
  _tag: "Request",
  index,
  begin: at * block,
  length
})

const settle = Effect.gen(function* () {
  for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
})

/**
 * A connection that keeps what is written, and wants a pause after each write while `isFull`. It has a copy of all of
 * it while `isWritten`.
 */
const makeConnection = () => {
  const writes: Array<ReadonlyArray<WireMessage.WireMessage>> = []
  const memories: Array<ArrayBufferLike> = []
  const room = Latch.makeUnsafe(true)
  const state = { isFull: false, isWritten: false }
  const write = (bytes: Uint8Array): boolean => {
    const messages: Array<WireMessage.WireMessage> = []
    FrameDecoder.push(FrameDecoder.make(WireMessage.sink((message) => messages.push(message))), bytes)
    writes.push(messages)
    memories.push(bytes.buffer)
    if (state.isFull) room.closeUnsafe()
    return !state.isFull
  }
  const connection: Connection = {
    remote: { host: "10.0.0.1", port: 1 },
    receiveUnsafe: () => {},
    resumeUnsafe: () => {},
    writeUnsafe: Object.assign(write, { isWrittenUnsafe: () => state.isWritten }),
    drained: room.await,
    closed: Effect.never
  }
  const drain = Effect.andThen(
    Effect.sync(() => room.openUnsafe()),
    settle
  )
  return { connection, writes, memories, state, drain }
}

/** The blocks of a write, as `piece:block`. */
const inShort = (messages: ReadonlyArray<WireMessage.WireMessage>) =>
  messages
    .map((message) => (message._tag === "Piece" ? `${message.index}:${message.begin / block}` : message._tag))
    .join(" ")

/** A session that serves an unchoked peer, with every piece stored; `ask` sends requests and lets them be answered. */
const serving = Effect.fnUntraced(function* (
  options: {
    readonly isFast?: boolean
    readonly limits?: RateLimits.TorrentLimits
    readonly around?: (read: TorrentStorage["readBlock"]) => TorrentStorage["readBlock"]
  } = {}
) {
  const upload = Uploads.make(geometry, options.around)
  const assembly = yield* makeAssembly({ stored: [0, 1, 2, 3] })
  const protocol = connect(assembly, 0, { upload, isFast: options.isFast, limits: options.limits })
  PeerRequests.unchoke(protocol)
  heard(protocol)
  const line = makeConnection()
  const requested = Latch.makeUnsafe(false)
  protocol.woken.onServe = () => queueMicrotask(() => requested.openUnsafe())
  yield* Effect.forkChild(UploadSession.run(line.connection, protocol, requested), { startImmediately: true })
  const ask = Effect.fnUntraced(function* (...messages: ReadonlyArray<WireMessage.WireMessage>) {
    say(protocol, messages, yield* Clock.currentTimeMillis)
    requested.openUnsafe()
    yield* settle
  })
  return { ...line, protocol, upload, ask, told: () => line.writes.map(inShort) }
})

const gone = new StorageError({ operation: "read", reason: new NotStored({ path: "a.bin" }) })
const away = new StorageError({
  operation: "read",
  reason: new StorageUnavailable({ path: "a.bin", why: "no answer" })
})

describe("UploadSession", () => {
  test("sends the right bytes, and counts them for the peer and the torrent", function* () {
    const { ask, protocol, upload, writes } = yield* serving()

    yield* ask(request(1, 2), request(3, 3, block - 100))

    assert.deepStrictEqual(writes.flat(), [
      { _tag: "Piece", index: 1, begin: 2 * block, block: bytesOf(1, 2) },
      { _tag: "Piece", index: 3, begin: 3 * block, block: bytesOf(3, 3) }
    ])
    assert.deepStrictEqual([protocol.uploadedBytes, upload.uploadedBytes], [2 * block - 100, 2 * block - 100])
  })

  test("sends neighbouring blocks in one write, longer runs once the first have left quickly", function* () {
    const { ask, drain, state, told, upload } = yield* serving()
    state.isFull = true
    yield* ask(...[0, 1, 2, 3].map((at) => request(0, at)), ...[0, 1, 2, 3].map((at) => request(1, at)))

    for (let turn = 0; turn < 5; turn++) yield* drain

    assert.deepStrictEqual(told(), ["0:0", "0:1 0:2", "0:3", "1:0 1:1 1:2 1:3"])
    assert.deepStrictEqual(upload.reads, [`0:0+${4 * block}`, `1:0+${4 * block}`])
  })

  test("has one run under way, and makes the next shorter if it took long to leave", function* () {
    const { ask, drain, state, told } = yield* serving()
    state.isFull = true
    yield* ask(...[0, 1, 2, 3].map((at) => request(0, at)), ...[0, 1, 2, 3].map((at) => request(1, at)))
    const first = told()
    yield* drain
    yield* TestClock.adjust("5 seconds")

    yield* drain

    assert.deepStrictEqual(first, ["0:0"])
    assert.deepStrictEqual(told(), ["0:0", "0:1 0:2", "0:3"])
  })

  test("uses the memory of a long run again, but not before the connection needs it no more", function* () {
    const { ask, drain, memories, state } = yield* serving()
    const piece = (index: number) => [0, 1, 2, 3].map((at) => request(index, at))
    // The first runs are short.
    yield* ask(...piece(0))
    memories.length = 0

    yield* ask(...piece(0), ...piece(1))
    state.isFull = true
    yield* ask(...piece(2), ...piece(0))
    state.isWritten = true
    yield* drain
    state.isFull = false
    yield* drain
    yield* ask(...piece(1))

    const [first, second, third, fourth, fifth] = memories
    assert.strictEqual(memories.length, 5)
    assert.strictEqual(new Set([first, second, third]).size, 3)
    assert.deepStrictEqual([fourth === third, fifth === fourth], [true, true])
  })

  test("reads the next in line while a run leaves", function* () {
    const { ask, state, told, upload } = yield* serving()
    state.isFull = true

    yield* ask(request(0, 0), request(2, 1))

    assert.deepStrictEqual([told(), upload.reads], [["0:0"], [`0:0+${4 * block}`, `2:0+${4 * block}`]])
  })

  test("does not send what was cancelled or choked while it was read", function* () {
    const gate = yield* Deferred.make<void>()
    const { ask, protocol, writes } = yield* serving({
      around: (read) => (piece, begin, length) => Effect.andThen(Deferred.await(gate), read(piece, begin, length))
    })
    yield* ask(request(0, 0))
    yield* ask({ ...request(0, 0), _tag: "Cancel" } as WireMessage.WireMessage)
    const cancelled = heard(protocol)
    yield* ask(request(1, 0))
    PeerRequests.choke(protocol)

    yield* Deferred.succeed(gate, undefined)
    yield* settle

    assert.deepStrictEqual(writes, [])
    assert.deepStrictEqual(cancelled, [{ _tag: "Reject", index: 0, begin: 0, length: block }])
    assert.deepStrictEqual([protocol.uploadedBytes, protocol.uploads.requests.size], [0, 0])
  })

  test("fault 49: rejects what cannot be read, remembers a piece that is lost, and goes on with others", function* () {
    const { ask, protocol, told, upload } = yield* serving({
      around: (read) => (piece, begin, length) => (piece === 1 ? Effect.fail(gone) : read(piece, begin, length))
    })

    yield* ask(request(1, 0), request(1, 1), request(2, 0))
    const rejected = heard(protocol)
    yield* ask(request(1, 2))

    assert.deepStrictEqual(told(), ["2:0"])
    assert.deepStrictEqual(
      [...rejected, ...heard(protocol)].map(({ _tag }) => _tag),
      ["Reject", "Reject", "Reject"]
    )
    assert.deepStrictEqual([upload.unreadable.count, upload.failures], [1, [gone]])
  })

  test("fault 53: tries again for the next request if the storage was only unavailable", function* () {
    let calls = 0
    const { ask, protocol, told, upload } = yield* serving({
      isFast: false,
      around: (read) => (piece, begin, length) => (calls++ === 0 ? Effect.fail(away) : read(piece, begin, length))
    })

    yield* ask(request(1, 0))
    yield* ask(request(1, 0))

    assert.deepStrictEqual(told(), ["1:0"])
    assert.deepStrictEqual([heard(protocol), upload.unreadable.count, upload.failures], [[], 0, [away]])
  })

  describe("under a limit of two blocks a second", () => {
    const limited = () => {
      const limits = { uploadBytesPerSecond: 2 * block }
      return RateLimits.makeTorrent(RateLimits.makeEngine({}, 0), { torrent: limits }, 0)
    }
    const all = [0, 1, 2, 3].flatMap((index) => [0, 1, 2].map((at) => request(index, at)))

    test("sends what it may, and goes on when it is woken", function* () {
      const limits = limited()
      const { ask, told } = yield* serving({ limits })
      yield* ask(...all)
      const first = told().join(" ").split(" ").length

      RateLimiter.step(limits.upload.parent!, 1_000)
      yield* settle

      // Half a second's worth and one block each time.
      assert.deepStrictEqual([first, told().join(" ").split(" ").length], [2, 4])
    })

    test("is granted nothing while the peer does not read", function* () {
      const limits = limited()
      const { ask, drain, protocol, state, told } = yield* serving({ limits })
      state.isFull = true
      yield* ask(...all)
      const waited = RateLimiter.isWaitedFor(limits.upload)
      for (let now = 1_000; now <= 60_000; now += 1_000) RateLimiter.step(limits.upload.parent!, now)
      const credit = protocol.limits.upload.credit

      yield* TestClock.adjust("60 seconds")
      yield* drain
      yield* settle

      assert.deepStrictEqual([waited, credit], [false, 0])
      assert.isAtMost(told().join(" ").split(" ").length, 4)
    })

    test("returns to the limiter what was cancelled while it was read", function* () {
      const limits = limited()
      const before = limits.upload.tokens
      const { ask, protocol } = yield* serving({
        limits,
        around: (read) => (piece, begin, length) => Effect.delay(read(piece, begin, length), "1 second")
      })
      yield* ask(request(0, 0))
      yield* ask({ _tag: "Cancel", index: 0, begin: 0, length: block })

      yield* TestClock.adjust("1 second")
      yield* settle

      assert.strictEqual(limits.upload.tokens, before)
      // It was its turn. Otherwise a peer that always cancels would always be next.
      assert.strictEqual(protocol.limits.upload.served, block)
    })
  })
})
