import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { Sink } from "../../src/network/Transport.ts"
import * as MetadataSession from "../../src/peer/MetadataSession.ts"
import { PeerDropped } from "../../src/peer/PeerPatience.ts"
import * as ExtensionHandshake from "../../src/wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../../src/wire/extension/MetadataMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { settle } from "./sessions.ts"

/** A session with a peer that says what the test delivers. */
const begin = Effect.fnUntraced(function* (
  options: {
    readonly extensionProtocol?: boolean
    readonly refuses?: PeerDropped
    readonly canEncrypt?: boolean
    readonly prefersEncryption?: boolean
  } = {}
) {
  let sink: Sink = () => true
  const opened: Array<MetadataSession.MetadataSession> = []
  const said: Array<Uint8Array> = []
  const sizes: Array<number> = []
  const session = { ended: undefined as string | undefined }
  yield* MetadataSession.run({
    introduced: {
      connection: {
        remote: { host: "10.0.0.1", port: 6881 },
        receiveUnsafe: (receiver) => {
          sink = receiver
        },
        resumeUnsafe: () => {},
        canEncrypt: options.canEncrypt,
        writeUnsafe: (bytes) => {
          said.push(bytes.slice())
          return true
        },
        drained: Effect.void,
        closed: Effect.never
      },
      infoHash: new Uint8Array(20) as InfoHash,
      peerId: new Uint8Array(20).fill(0x51),
      features: { ...MetadataSession.features, extensionProtocol: options.extensionProtocol !== false },
      isIncoming: false
    },
    prefersEncryption: options.prefersEncryption ?? true,
    onOpen: (session) => {
      opened.push(session)
      return options.refuses
    },
    onSize: (size) => sizes.push(size),
    onMessage: () => {}
  }).pipe(
    Effect.onExit((exit) =>
      Effect.sync(() => {
        const error = Exit.findErrorOption(exit)
        session.ended = error._tag === "Some" ? error.value.why : exit._tag
      })
    ),
    Effect.ignore,
    Effect.forkScoped
  )
  yield* settle
  /** The peer says that it has an info dict of `size` bytes. */
  const greet = (size: number, more: Partial<ExtensionHandshake.ExtensionHandshake> = {}) => {
    const out = FrameEncoder.make()
    const greeting = ExtensionHandshake.encode({
      ids: new Map([[MetadataMessage.extensionName, 3]]),
      metadataSize: size,
      ...more
    })
    FrameEncoder.extended(out, ExtensionHandshake.id, greeting)
    sink(FrameEncoder.take(out))
    return settle
  }
  return { greet, said, opened, sizes, session }
})

describe("MetadataSession", () => {
  it.effect("opens once, however often the peer names its size", () =>
    Effect.gen(function* () {
      const { greet, opened, session, sizes } = yield* begin()

      yield* greet(100)
      yield* greet(200)
      yield* TestClock.adjust("1 minute")

      assert.deepStrictEqual(
        [opened.map(({ openedAt }) => openedAt), sizes, session.ended],
        [[0], [100, 200], undefined]
      )
    })
  )

  it.effect("says whether it prefers encrypted connections", () =>
    Effect.gen(function* () {
      const greetings: Array<boolean | undefined> = []
      for (const prefersEncryption of [true, false]) {
        const { said } = yield* begin({ prefersEncryption })
        const decoder = FrameDecoder.make({
          ...FrameDecoder.ignoreAll,
          extended: (_, payload) =>
            greetings.push(Result.getOrThrow(ExtensionHandshake.decode(payload)).prefersEncryption)
        })
        for (const bytes of said) FrameDecoder.push(decoder, bytes)
      }

      assert.deepStrictEqual(greetings, [true, false])
    })
  )

  it.effect("knows what a peer prefers: as it says, or else as its handshake came", () =>
    Effect.gen(function* () {
      const found: Array<boolean | undefined> = []
      for (const [canEncrypt, says] of [
        [false, undefined],
        [true, undefined],
        [false, true],
        [true, false]
      ] as const) {
        const { greet, opened } = yield* begin({ canEncrypt })
        yield* greet(100, { prefersEncryption: says })
        found.push(opened[0]?.prefersEncryption())
      }

      assert.deepStrictEqual(found, [false, true, true, false])
    })
  )

  it.effect("ends if its owner refuses the peer, and requests nothing", () =>
    Effect.gen(function* () {
      const { greet, session, sizes } = yield* begin({ refuses: new PeerDropped({ why: "it is banned" }) })

      yield* greet(100)

      assert.deepStrictEqual([sizes, session.ended], [[], "it is banned"])
    })
  )

  it.effect("ends at once with a peer that does not speak the extension protocol", () =>
    Effect.gen(function* () {
      const { session } = yield* begin({ extensionProtocol: false })

      assert.strictEqual(session.ended, "it does not send the metadata")
    })
  )

  it.effect("fault 32: ends after 10 seconds with a peer that says nothing after the handshake", () =>
    Effect.gen(function* () {
      const { session } = yield* begin()
      yield* TestClock.adjust("9 seconds")
      yield* settle
      const early = session.ended

      yield* TestClock.adjust("1 second")
      yield* settle

      assert.deepStrictEqual([early, session.ended], [undefined, "no extension handshake within 10 seconds"])
    })
  )
})
