import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import * as PieceGeometry from "../../../src/base/PieceGeometry.ts"
import type * as Encryption from "../../../src/connect/Encryption.ts"
import { RandomBytes } from "../../../src/connect/mse/DiffieHellman.ts"
import * as EncryptedConnection from "../../../src/connect/mse/EncryptedConnection.ts"
import * as Mse from "../../../src/connect/mse/Mse.ts"
import * as Rc4 from "../../../src/connect/mse/Rc4.ts"
import type { Connection } from "../../../src/network/Transport.ts"
import * as RunBuffers from "../../../src/peer/RunBuffers.ts"
import * as UploadSession from "../../../src/peer/UploadSession.ts"
import * as MemoryNetwork from "../../../src/testing/MemoryNetwork.ts"
import { settle } from "../../peer/sessions.ts"
import { infoHash, randomWith, torrents } from "./handshakes.ts"

const there: PeerAddress = { host: "10.0.0.1", port: 6_881 }

const handshake = Bytes.fromText("the handshake of BEP 3")

const make = (policy: "prefer" | "require", seed: number) =>
  Effect.provideService(Mse.make({ policy, torrents }), RandomBytes, randomWith(seed))

/** What a connection delivers. */
const hear = (connection: Connection): { readonly text: () => string } => {
  const heard: Array<Uint8Array> = []
  connection.receiveUnsafe((view) => {
    heard.push(view.slice())
    return true
  })
  return { text: () => Bytes.toText(Bytes.concat(heard)) }
}

/** Both ends of an encrypted connection. */
const connect = Effect.fnUntraced(function* (
  ours: Encryption.Encryption,
  theirs: Encryption.Encryption,
  watch: (connection: Connection) => Connection = (connection) => connection
) {
  const { host } = yield* MemoryNetwork.MemoryNetwork
  const listening = yield* host(there.host).listener.listen(there)
  const raw = watch(yield* host("10.0.0.2").dialer.connect(there))
  const far = yield* listening.accept
  return yield* Effect.all(
    [ours.dialled(raw, { infoHash, way: "encrypted", handshake }), theirs.accepted(far)] as const,
    { concurrency: "unbounded" }
  )
})

const inNetwork = <A, E>(
  effect: Effect.Effect<A, E, MemoryNetwork.MemoryNetwork | Scope.Scope>,
  options: MemoryNetwork.Options = {}
) => Effect.scoped(effect).pipe(Effect.provide(MemoryNetwork.layer(options)))

describe("Mse", () => {
  it.effect.each(["prefer", "require"] as const)("carries both directions, each byte once (%s)", (policy) =>
    Effect.gen(function* () {
      for (const seed of [1, 2, 3, 4, 5]) {
        const network = { seed, chunkBytes: seed === 5 ? 1 : undefined }
        const said = yield* inNetwork(
          Effect.gen(function* () {
            const [near, far] = yield* connect(yield* make(policy, seed), yield* make("prefer", seed + 9))
            const [nearHears, farHears] = [hear(near), hear(far)]
            near.writeUnsafe(Bytes.fromText(", then a request"))
            far.writeUnsafe(Bytes.fromText("a block"))
            far.writeUnsafe(Bytes.fromText(", and another one"))
            yield* settle
            const flags = [near, far].map(({ canEncrypt, isEncrypted }) => [canEncrypt, isEncrypted === true])
            return [nearHears.text(), farHears.text(), flags] as const
          }),
          network
        )

        const isEncrypted = policy === "require"
        assert.deepStrictEqual(said, [
          "a block, and another one",
          "the handshake of BEP 3, then a request",
          [
            [true, isEncrypted],
            [true, isEncrypted]
          ]
        ])
      }
    })
  )

  it.effect("changes no bytes that are written, which other connections may be sending too", () =>
    inNetwork(
      Effect.gen(function* () {
        const written: Array<Uint8Array> = []
        const watch = (connection: Connection): Connection => ({
          ...connection,
          writeUnsafe: (bytes) => {
            written.push(bytes)
            return connection.writeUnsafe(bytes)
          }
        })
        const [near, far] = yield* connect(yield* make("require", 1), yield* make("prefer", 2), watch)
        const heard = hear(far)
        const shared = Bytes.fromText("a block")

        near.writeUnsafe(shared)
        near.writeUnsafe(shared)
        yield* settle

        assert.strictEqual(Bytes.toText(shared), "a block")
        assert.isTrue(near.writeUnsafe.isWrittenUnsafe?.())
        assert.strictEqual(heard.text(), "the handshake of BEP 3a blocka block")
        assert.isFalse(written.some((bytes) => Bytes.toText(bytes).includes("block")))
        // Without word that the system has a copy, each write has memory of its own.
        assert.strictEqual(new Set(written.map(({ buffer }) => buffer)).size, written.length)
      })
    )
  )

  it.effect("writes from one buffer as long as the system copies at once, and gives it up if it does not", () =>
    inNetwork(
      Effect.gen(function* () {
        const written: Array<Uint8Array> = []
        let [isWritten, takes] = [true, true]
        const watch = (connection: Connection): Connection => ({
          ...connection,
          writeUnsafe: Object.assign(
            (bytes: Uint8Array) => {
              written.push(bytes)
              isWritten = takes
              return connection.writeUnsafe(takes ? bytes.slice() : bytes)
            },
            { isWrittenUnsafe: () => isWritten }
          )
        })
        const [near, far] = yield* connect(yield* make("require", 1), yield* make("prefer", 2), watch)
        const heard = hear(far)
        const [long, short] = ["a block".repeat(4_000), "a request"]
        const write = (...texts: ReadonlyArray<string>) =>
          texts.map((text) => {
            near.writeUnsafe(Bytes.fromText(text))
            return written.at(-1)!
          })

        const copied = write(long, long, short)
        takes = false
        const waiting = write(long, long, short)
        ;[isWritten, takes] = [true, true]
        const later = write(long, long)
        yield* settle

        const buffers = (writes: ReadonlyArray<Uint8Array>) => writes.map(({ buffer }) => buffer)
        const [first] = buffers(copied)
        assert.deepStrictEqual(
          buffers([copied[1]!, waiting[0]!]).map((buffer) => buffer === first),
          [true, true]
        )
        for (const { buffer, length } of [copied[2]!, waiting[1]!, waiting[2]!]) {
          assert.strictEqual(buffer.byteLength, length)
        }
        assert.strictEqual(later[0]!.buffer, later[1]!.buffer)
        assert.notStrictEqual(later[0]!.buffer, first)
        const all = [long, long, short, long, long, short, long, long].join("")
        assert.isTrue(heard.text() === `the handshake of BEP 3${all}`)
      })
    )
  )

  it("encrypts the longest run of blocks that is uploaded without fresh memory", () => {
    const blocks = UploadSession.maxRunBytes / PieceGeometry.blockLength
    const run = RunBuffers.take(UploadSession.maxRunBytes + blocks * RunBuffers.headerLength)
    const written: Array<Uint8Array> = []
    const connection: Connection = {
      remote: there,
      receiveUnsafe: () => {},
      resumeUnsafe: () => {},
      writeUnsafe: Object.assign((bytes: Uint8Array) => written.push(bytes) > 0, { isWrittenUnsafe: () => true }),
      drained: Effect.void,
      closed: Effect.never
    }
    const encrypting = EncryptedConnection.make(connection, Rc4.make(new Uint8Array(20)))

    encrypting.writeUnsafe(run)
    encrypting.writeUnsafe(run)

    assert.strictEqual(written[0]!.length, run.length)
    assert.isTrue(written[0]!.buffer === written[1]!.buffer)
  })

  it.effect("stops reading when the reader asks for it, and continues where it stopped", () =>
    inNetwork(
      Effect.gen(function* () {
        const [near, far] = yield* connect(yield* make("require", 1), yield* make("prefer", 2))
        const heard: Array<string> = []
        far.receiveUnsafe((view) => {
          heard.push(Bytes.toText(view))
          return false
        })
        near.writeUnsafe(Bytes.fromText("a request"))
        yield* settle
        const first = heard.join("")
        for (let turn = 0; turn < 50; turn++) {
          far.resumeUnsafe()
          yield* settle
        }

        assert.strictEqual(first, "the handshake of BEP 3")
        assert.strictEqual(heard.join(""), "the handshake of BEP 3a request")
      })
    )
  )

  it.effect("fault 95: fails typed, and closes, whatever a peer sends first", () =>
    Effect.gen(function* () {
      const samples = fc.sample(fc.uint8Array({ minLength: 700, maxLength: 1_500 }), { numRuns: 20, seed: 7 })
      for (const bytes of samples) {
        const exit = yield* inNetwork(
          Effect.gen(function* () {
            const { host } = yield* MemoryNetwork.MemoryNetwork
            const listening = yield* host(there.host).listener.listen(there)
            const raw = yield* host("10.0.0.2").dialer.connect(there)
            const far = yield* listening.accept
            raw.receiveUnsafe(() => true)
            raw.writeUnsafe(bytes)
            return yield* Effect.exit((yield* make("prefer", 1)).accepted(far))
          })
        )

        const error = Exit.findErrorOption(exit)
        assert.strictEqual(
          error._tag === "Some" && error.value.why,
          "its encryption handshake has more padding than is allowed"
        )
      }
    })
  )
})
