import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import type { PeerId } from "../../src/base/PeerId.ts"
import * as Approach from "../../src/connect/Approach.ts"
import * as Encryption from "../../src/connect/Encryption.ts"
import * as Introduction from "../../src/connect/Introduction.ts"
import * as Mse from "../../src/connect/mse/Mse.ts"
import { Dialer } from "../../src/network/Transport.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { pass, settle, test } from "../peer/sessions.ts"
import { infoHash, torrents } from "./mse/handshakes.ts"

const there: PeerAddress = { host: "10.0.0.1", port: 6_881 }

const features = { ...Handshake.noFeatures, fast: true }
const us: Introduction.Ourselves = { infoHash, peerId: new Uint8Array(20).fill(0x50) as PeerId, features }
const them: Introduction.Ourselves = { ...us, peerId: new Uint8Array(20).fill(0x51) as PeerId }

const encryptionOf = (policy: Encryption.Policy): Effect.Effect<Encryption.Encryption> =>
  policy === "off" ? Effect.succeed(Encryption.plain) : Mse.make({ policy, torrents })

/** What a peer did with each connection: how it began, or that it was refused. */
type Met = Array<Encryption.Way | "refused">

/** Serves connections at `there`, each until `meet` ends. */
const serve = Effect.fnUntraced(function* (
  meet: (connection: Parameters<typeof Introduction.accepted>[0]) => Effect.Effect<void, unknown, Scope.Scope>
) {
  const network = yield* MemoryNetwork.MemoryNetwork
  const listening = yield* network.host(there.host).listener.listen(there)
  const one = Effect.scoped(Effect.flatMap(listening.accept, meet))
  yield* Effect.forkScoped(Effect.forever(Effect.ignore(one)))
})

/** A peer of a policy. */
const peer = Effect.fnUntraced(function* (policy: Encryption.Policy) {
  const encryption = yield* encryptionOf(policy)
  const met: Met = []
  yield* serve((connection) =>
    Introduction.accepted(connection).pipe(
      Effect.provideService(Encryption.Encryption, encryption),
      Effect.onError(() => Effect.sync(() => met.push("refused"))),
      Effect.flatMap((caller) => {
        met.push(caller.connection.canEncrypt === true ? "encrypted" : "plain")
        return Effect.flatMap(Introduction.answer(caller, them), ({ connection }) => {
          connection.receiveUnsafe(() => true)
          return connection.closed
        })
      })
    )
  )
  return met
})

/** Dials `there` over and over, with what is known from before. */
const dialling = Effect.fnUntraced(function* (policy: Encryption.Policy) {
  const encryption = yield* encryptionOf(policy)
  const dialer = yield* Dialer
  const counts = { hangUps: 0 }
  const dial = Effect.gen(function* () {
    const options = {
      dialer,
      address: there,
      from: "public" as const,
      ourselves: us,
      hungUp: () => void counts.hangUps++
    }
    const exit = yield* Effect.exit(Effect.scoped(Approach.introduce(options)))
    yield* settle
    if (Exit.isSuccess(exit)) return exit.value.connection.isEncrypted === true ? "encrypted" : "plain"
    const error = Exit.findErrorOption(exit)
    return error._tag === "Some" ? error.value.why : "died"
  }).pipe(Effect.provideService(Encryption.Encryption, encryption))
  return { counts, dial, encryption }
})

describe("Approach", () => {
  test("dials in plain first, and then in the way that has worked", function* () {
    const met = yield* peer("prefer")
    const { dial } = yield* dialling("prefer")

    const ends = [yield* dial, yield* dial]

    assert.deepStrictEqual(
      [ends, met],
      [
        ["plain", "plain"],
        ["plain", "plain"]
      ]
    )
  })

  test("dials a peer that requires encryption again, encrypted, and at once so the next time", function* () {
    const met = yield* peer("require")
    const { counts, dial } = yield* dialling("prefer")

    const ends = [yield* dial, yield* dial]

    assert.deepStrictEqual(
      [ends, met, counts.hangUps],
      [["encrypted", "encrypted"], ["refused", "encrypted", "encrypted"], 0]
    )
  })

  test("dials a peer that is said to prefer encryption encrypted first, and in plain if it does not understand", function* () {
    const met = yield* peer("off")
    const { dial, encryption } = yield* dialling("prefer")
    encryption.notePreference(there)

    const ends = [yield* dial, yield* dial]

    assert.deepStrictEqual(
      [ends, met],
      [
        ["plain", "plain"],
        ["refused", "plain", "plain"]
      ]
    )
  })

  test("encrypts the handshake alone if both sides prefer encryption", function* () {
    const met = yield* peer("prefer")
    const { dial, encryption } = yield* dialling("prefer")
    encryption.notePreference(there)

    assert.deepStrictEqual([yield* dial, met], ["plain", ["encrypted"]])
  })

  test("encrypts everything if one side requires it", function* () {
    const met = yield* peer("prefer")
    const { dial } = yield* dialling("require")

    assert.deepStrictEqual([yield* dial, met], ["encrypted", ["encrypted"]])
  })

  test("says that encryption may be the reason if it is off and the peer closes", function* () {
    const met = yield* peer("require")
    const { counts, dial } = yield* dialling("off")

    const why = "it closed the connection; it may accept only encrypted connections"
    assert.deepStrictEqual([yield* dial, met, counts.hangUps], [why, ["refused"], 1])
  })

  test("says that encryption may be the reason if it is required and the peer closes", function* () {
    const met = yield* peer("off")
    const { counts, dial } = yield* dialling("require")

    const why = "it closed the connection; it may not encrypt, which is required here"
    assert.deepStrictEqual([yield* dial, met, counts.hangUps], [why, ["refused"], 1])
  })

  test("tries a peer that closes in both ways, and then in one way at a time", function* () {
    let connections = 0
    yield* serve(() => Effect.sync(() => void connections++))
    const { counts, dial } = yield* dialling("prefer")

    const first = yield* dial
    const after = [connections, counts.hangUps]
    const second = yield* dial

    assert.deepStrictEqual([first, after], ["it closed the connection; both with and without encryption", [2, 1]])
    assert.deepStrictEqual([second, connections, counts.hangUps], ["it closed the connection", 3, 1])
    const { counts: inUse } = yield* MemoryNetwork.MemoryNetwork
    assert.strictEqual((yield* inUse).connections, 0)
  })

  test("leaves the other way to the next dial if the peer says nothing for 10 seconds", function* () {
    const firsts: Array<number> = []
    yield* serve((connection) =>
      Effect.andThen(
        Effect.sync(() =>
          connection.receiveUnsafe((view) => {
            if (view.length > 0) firsts.push(view[0]!)
            return false
          })
        ),
        Effect.sleep("11 seconds")
      )
    )
    const { dial } = yield* dialling("prefer")
    const ends: Array<string> = []
    yield* Effect.forkScoped(Effect.forever(Effect.tap(dial, (end) => Effect.sync(() => ends.push(end)))))

    yield* pass(10)
    assert.deepStrictEqual([ends, firsts], [["no handshake within 10 seconds"], [0x13]])
    yield* pass(3)

    assert.strictEqual(firsts.length, 2)
    assert.notStrictEqual(firsts[1], 0x13)
  })

  test("does not dial again if the peer serves another torrent", function* () {
    let connections = 0
    yield* serve((connection) =>
      Effect.gen(function* () {
        connections++
        connection.writeUnsafe(Handshake.encode({ ...them, infoHash: new Uint8Array(20).fill(1) as never }))
        yield* Effect.sleep("1 second")
      })
    )
    const { counts, dial } = yield* dialling("prefer")

    assert.deepStrictEqual([yield* dial, connections, counts.hangUps], ["it serves another torrent", 1, 0])
  })

  test("does not dial again if nothing listens there", function* () {
    const { counts, dial } = yield* dialling("prefer")

    assert.deepStrictEqual([yield* dial, counts.hangUps], ["connection refused", 0])
  })
})
