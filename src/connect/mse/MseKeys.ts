/**
 * What both sides of Message Stream Encryption derive from their shared secret and the info hash of the torrent, which
 * the specification calls `S` and `SKEY`. Each is a SHA-1 digest of 20 bytes.
 */
import * as Bytes from "../../base/Bytes.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import * as Sha1 from "../../hash/Sha1.ts"
import * as Rc4 from "./Rc4.ts"

const [req1, req2, req3, keyA, keyB] = ["req1", "req2", "req3", "keyA", "keyB"].map(Bytes.fromText) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array
]

/** `HASH('req1', S)`: where the second message of the dialling side begins, behind padding of unknown length. */
export const mark = (secret: Uint8Array): Uint8Array => Sha1.digest(req1, secret)

/** `HASH('req2', SKEY)`: what stands for the torrent. */
export const nameOf = (infoHash: InfoHash): Uint8Array => Sha1.digest(req2, infoHash)

/** The name of a torrent as it is sent: `HASH('req2', SKEY) xor HASH('req3', S)`. A second call undoes it. */
export const masked = (name: Uint8Array, secret: Uint8Array): Uint8Array => {
  const mask = Sha1.digest(req3, secret)
  return name.map((byte, at) => byte ^ mask[at]!)
}

/** The ciphers of the two directions. */
export interface Ciphers {
  /** What the dialling side sends. */
  readonly fromDialler: Rc4.Rc4
  /** What the accepting side sends. */
  readonly fromAcceptor: Rc4.Rc4
}

/** Makes the ciphers at their start. */
export const ciphers = (secret: Uint8Array, infoHash: InfoHash): Ciphers => ({
  fromDialler: Rc4.make(Sha1.digest(keyA, secret, infoHash)),
  fromAcceptor: Rc4.make(Sha1.digest(keyB, secret, infoHash))
})
