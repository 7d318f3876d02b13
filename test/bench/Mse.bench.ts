/**
 * Message Stream Encryption: the cipher, a connection that encrypts what is written, the key agreement on Node and with
 * big integers, and a whole handshake of both sides.
 */
import * as Effect from "effect/Effect"
import * as DiffieHellman from "../../src/connect/mse/DiffieHellman.ts"
import * as EncryptedConnection from "../../src/connect/mse/EncryptedConnection.ts"
import * as Rc4 from "../../src/connect/mse/Rc4.ts"
import * as NodeDiffieHellman from "../../src/connect/provider/node/NodeDiffieHellman.ts"
import type { Connection } from "../../src/network/Transport.ts"
import { run } from "../connect/mse/handshakes.ts"
import { type Operation, plain, seen } from "./Operation.ts"

const block = new Uint8Array(16_384).fill(7)
const batch = 16

const cipher = Rc4.make(new Uint8Array(20).fill(5))

/** A connection whose system copies everything at once. */
const taking: Connection = {
  remote: { host: "127.0.0.1", port: 1 },
  receiveUnsafe: () => {},
  resumeUnsafe: () => {},
  writeUnsafe: Object.assign(
    (bytes: Uint8Array) => {
      // Not a sum, which would become a number on the heap.
      seen.value = bytes.length
      return true
    },
    { isWrittenUnsafe: () => true }
  ),
  drained: Effect.void,
  closed: Effect.never
}
const encrypting = EncryptedConnection.make(taking, Rc4.make(new Uint8Array(20).fill(6)))

const privateKey = new Uint8Array(DiffieHellman.privateKeyLength).fill(0x5a)
const theirs = DiffieHellman.bigInt.publicKey(new Uint8Array(DiffieHellman.privateKeyLength).fill(0xa5))

/** Once per connection, so only its time is of interest. */
const timed = (name: string, turn: () => void): Operation => ({ ...plain(name, 1, turn), isTimedOnly: true })

const agreeing = (name: string, diffieHellman: DiffieHellman.DiffieHellman): Operation =>
  timed(`DiffieHellman: a public key and a secret, ${name}`, () => {
    seen.value += diffieHellman.publicKey(privateKey)[0]! + diffieHellman.agree(privateKey, theirs)[0]!
  })

export const operations: ReadonlyArray<Operation> = [
  plain("Rc4: a block where it is", batch, () => {
    for (let turn = 0; turn < batch; turn++) Rc4.apply(cipher, block, block)
  }),
  plain("EncryptedConnection: a block written", batch, () => {
    for (let turn = 0; turn < batch; turn++) encrypting.writeUnsafe(block)
  }),
  agreeing("big integers", DiffieHellman.bigInt),
  agreeing("Node", NodeDiffieHellman.make()),
  timed("MseHandshake: both sides", () => {
    seen.value += run().responder.rest.length
  })
]
