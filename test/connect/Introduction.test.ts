import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as fc from "fast-check"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import type { PeerId } from "../../src/base/PeerId.ts"
import { Encryption, plain } from "../../src/connect/Encryption.ts"
import * as Introduction from "../../src/connect/Introduction.ts"
import type { Connection } from "../../src/network/Transport.ts"
import { Dialer } from "../../src/network/Transport.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { layer, listen, pass, serve, settle, test, torrent } from "../peer/sessions.ts"
import { inverted, inverting } from "./inverting.ts"

const there: PeerAddress = { host: "10.0.0.1", port: 6881 }

const infoHash = new Uint8Array(20).fill(7) as InfoHash
const theirId = new Uint8Array(20).fill(0x51)

const ourselves: Introduction.Ourselves = {
  infoHash,
  peerId: new Uint8Array(20).fill(0x50) as PeerId,
  features: { ...Handshake.noFeatures, fast: true, extensionProtocol: true }
}

const theirs = Handshake.encode({
  features: { ...Handshake.noFeatures, fast: true, dht: true },
  infoHash,
  peerId: theirId
})

/** Dials `address` and introduces us there. Returns how that ended. */
const introduce = Effect.fnUntraced(function* (address: PeerAddress, us = ourselves) {
  const attempt: { ended: string | undefined; introduced: Introduction.Introduced | undefined } = {
    ended: undefined,
    introduced: undefined
  }
  const connection = yield* Dialer.use((dialer) => dialer.connect(address))
  const fiber = yield* Introduction.dialled(connection, us).pipe(
    Effect.onExit((exit) =>
      Effect.sync(() => {
        const error = Exit.findErrorOption(exit)
        attempt.ended = error._tag === "Some" ? error.value.why : exit._tag
        if (Exit.isSuccess(exit)) attempt.introduced = exit.value
      })
    ),
    Effect.ignore,
    Effect.forkScoped
  )
  yield* settle
  return { attempt, fiber }
})

/** Introduces us to a `serve`d peer of a real torrent. */
const meet = Effect.fnUntraced(function* (behaviour: PeerBehaviour, peerId?: Uint8Array) {
  const known = yield* torrent()
  yield* serve(known, there, behaviour, peerId)
  return yield* introduce(there, { ...ourselves, infoHash: known.metainfo.infoHash })
})

/** A peer at `there` that writes `chunks`, and what it receives. */
const says = (...chunks: ReadonlyArray<Uint8Array>) => {
  const heard: Array<number> = []
  return Effect.as(
    listen(there, (connection) =>
      Effect.andThen(
        Effect.sync(() => {
          connection.receiveUnsafe((view) => {
            heard.push(...view)
            return true
          })
          for (const chunk of chunks) connection.writeUnsafe(chunk.slice())
        }),
        Effect.never
      )
    ),
    heard
  )
}

/** The bytes that a connection delivers from now on. */
const listenTo = (connection: Connection): Array<number> => {
  const delivered: Array<number> = []
  connection.receiveUnsafe((view) => {
    delivered.push(...view)
    return true
  })
  return delivered
}

describe("Introduction", () => {
  test("of a dialled connection returns who both are, and what both support", function* () {
    const heard = yield* says(theirs)

    const { attempt } = yield* introduce(there)

    assert.deepInclude(attempt.introduced, {
      infoHash,
      peerId: theirId,
      features: { ...Handshake.noFeatures, fast: true },
      isIncoming: false
    })
    assert.deepStrictEqual(Uint8Array.from(heard), Handshake.encode(ourselves))
  })

  test("of an accepted connection reads first, and sends only when it is answered", function* () {
    const heard = yield* says(theirs)
    const connection = yield* Dialer.use((dialer) => dialer.connect(there))

    const caller = yield* Introduction.accepted(connection)
    yield* settle
    const before = heard.length
    const introduced = yield* Introduction.answer(caller, ourselves)
    yield* settle

    assert.deepStrictEqual([caller.handshake.infoHash, before], [infoHash, 0])
    assert.deepStrictEqual(Uint8Array.from(heard), Handshake.encode(ourselves))
    assert.deepInclude(introduced, { infoHash, peerId: theirId, isIncoming: true })
  })

  it.effect("passes on the bytes behind the handshake once, however they are cut", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), fc.nat(120), fc.nat(120), (beyond, one, other) => {
          const stream = Uint8Array.from([...theirs, ...beyond])
          const cuts = [Math.min(one, other), Math.max(one, other)]
          return Effect.gen(function* () {
            yield* says(stream.subarray(0, cuts[0]), stream.subarray(cuts[0], cuts[1]), stream.subarray(cuts[1]))
            const { attempt } = yield* introduce(there)

            const delivered = listenTo(attempt.introduced!.connection)
            yield* settle

            assert.deepStrictEqual(Uint8Array.from(delivered), beyond)
            return true
          }).pipe(Effect.scoped, Effect.provide(layer()), Effect.runPromise)
        }),
        { numRuns: 50 }
      )
    )
  )

  test(
    "stops reading while its bytes are not taken",
    function* () {
      yield* says(Uint8Array.from([...theirs, 1, 2, 3]))
      const { attempt } = yield* introduce(there)
      const { connection } = attempt.introduced!
      const delivered: Array<number> = []

      connection.receiveUnsafe((view) => {
        delivered.push(...view)
        return false
      })
      yield* settle
      const before = [...delivered]
      connection.resumeUnsafe()
      yield* settle

      assert.deepStrictEqual(
        [before, delivered],
        [
          [1, 2],
          [1, 2, 3]
        ]
      )
    },
    { chunkBytes: Handshake.length + 2 }
  )

  test("reads nothing of a handshake that arrives after an interruption", function* () {
    let deliver: (view: Uint8Array) => boolean = () => true
    const late: Connection = {
      remote: there,
      receiveUnsafe: (sink) => {
        deliver = sink
      },
      resumeUnsafe: () => {},
      writeUnsafe: () => true,
      drained: Effect.void,
      closed: Effect.never
    }
    const fiber = yield* Effect.forkChild(Introduction.dialled(late, ourselves), { startImmediately: true })
    yield* Fiber.interrupt(fiber)

    const goesOn = deliver(theirs)

    assert.isFalse(goesOn)
    assert.strictEqual(fiber.pollUnsafe()?._tag, "Failure")
  })

  describe("fails", () => {
    test("fault 32: with a handshake that trickles, after 10 seconds", function* () {
      const { attempt } = yield* meet({ trickle: "300 millis" })
      yield* pass(9)
      const early = attempt.ended

      yield* pass(1)

      assert.deepStrictEqual([early, attempt.ended], [undefined, "no handshake within 10 seconds"])
    })

    test("fault 32: with a silent peer, after 10 seconds", function* () {
      const { attempt } = yield* meet({ silent: "from the start" })

      yield* pass(10)

      assert.strictEqual(attempt.ended, "no handshake within 10 seconds")
    })

    test("fault 32: with a peer of another torrent, at once", function* () {
      const { attempt } = yield* meet({ wrongInfoHash: true })

      assert.strictEqual(attempt.ended, "it serves another torrent")
    })

    test("fault 32: with a connection to ourselves", function* () {
      const { attempt } = yield* meet({}, ourselves.peerId)

      assert.strictEqual(attempt.ended, "it is this client itself")
    })

    test("with a peer that closes the connection instead", function* () {
      yield* listen(there, () => Effect.void)
      const network = yield* MemoryNetwork.MemoryNetwork
      const { attempt } = yield* introduce(there)
      const early = attempt.ended

      yield* network.cut(there.host)
      yield* settle

      assert.deepStrictEqual([early, attempt.ended], [undefined, "connection reset"])
    })

    test(
      "with bytes that are no handshake, whatever follows them in the same chunk",
      function* () {
        yield* says(Uint8Array.from([0x47, ...theirs]))

        const { attempt } = yield* introduce(there)

        assert.match(attempt.ended ?? "", /another protocol/)
      },
      { chunkBytes: 1 }
    )
  })

  test("encrypts a dialled connection for the torrent that we dial for", function* () {
    const heard = yield* says(inverted(theirs))
    const dialledFor: Array<InfoHash> = []
    const encryption = inverting((asked) => dialledFor.push(asked))

    const { attempt } = yield* Effect.provideService(introduce(there), Encryption, encryption)

    assert.deepStrictEqual([attempt.introduced?.peerId, dialledFor], [theirId, [infoHash]])
    assert.deepStrictEqual(Uint8Array.from(heard), inverted(Handshake.encode(ourselves)))
  })

  test("encrypts a connection that a peer opened", function* () {
    yield* says(inverted(theirs))
    const connection = yield* Dialer.use((dialer) => dialer.connect(there))

    const caller = yield* Effect.provideService(Introduction.accepted(connection), Encryption, inverting())

    assert.deepStrictEqual(caller.handshake.infoHash, infoHash)
  })

  test("ends an encryption that takes longer than 10 seconds", function* () {
    yield* says(theirs)
    const never = { ...plain, dialled: () => Effect.never, accepted: () => Effect.never }
    const { attempt } = yield* Effect.provideService(introduce(there), Encryption, never)

    yield* pass(10)

    assert.strictEqual(attempt.ended, "no handshake within 10 seconds")
  })
})
