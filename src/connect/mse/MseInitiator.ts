/**
 * The dialling side of a Message Stream Encryption handshake (`MseHandshake.ts`): a pure machine, bytes in and bytes
 * out. Leaves to its shell how long the handshake may take.
 *
 * Holds at most what arrived with one chunk besides about a kilobyte: longer padding fails.
 */
import * as Bytes from "../../base/Bytes.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import * as Handshake from "../../wire/Handshake.ts"
import { NotIntroduced } from "../NotIntroduced.ts"
import type { RandomBytes } from "./DiffieHellman.ts"
import * as DiffieHellman from "./DiffieHellman.ts"
import * as MseHandshake from "./MseHandshake.ts"
import * as MseKeys from "./MseKeys.ts"

/** What a handshake is made of. */
export interface Options {
  readonly diffieHellman: DiffieHellman.DiffieHellman
  readonly random: RandomBytes
  readonly infoHash: InfoHash
  /** The methods that are offered, bits of `MseHandshake.method`. */
  readonly methods: number
  /** Sent with the handshake, encrypted: at most 65,535 bytes. */
  readonly payload: Uint8Array
}

type State =
  /** Waits for the key of the peer. */
  | { readonly _tag: "Key" }
  /** Waits for the encrypted zeros behind the padding. */
  | { readonly _tag: "Mark"; readonly mark: Uint8Array; readonly ciphers: MseKeys.Ciphers }
  /** Waits for the method that the peer has chosen. */
  | { readonly _tag: "Method"; readonly ciphers: MseKeys.Ciphers }
  /** Waits for the end of the second padding. */
  | { readonly _tag: "Padding"; readonly length: number; readonly method: number; readonly ciphers: MseKeys.Ciphers }

/** A handshake under way. */
export interface MseInitiator {
  readonly options: Options
  readonly privateKey: Uint8Array
  /** What is sent at once. */
  readonly first: Uint8Array
  readonly arrived: MseHandshake.Arrived
  state: State
}

/** Begins a handshake. `first` is to be sent. */
export const make = (options: Options): MseInitiator => {
  const { diffieHellman, random } = options
  const privateKey = random(DiffieHellman.privateKeyLength)
  return {
    options,
    privateKey,
    first: Bytes.concat([diffieHellman.publicKey(privateKey), MseHandshake.padding(random)]),
    arrived: MseHandshake.makeArrived(),
    state: { _tag: "Key" }
  }
}

/**
 * Takes what has arrived, and passes what is to be sent to `send`. Returns the end of the handshake once it is
 * complete; nothing may be pushed afterwards. Throws `NotIntroduced` if the peer does not keep to it.
 */
export const push = (
  self: MseInitiator,
  chunk: Uint8Array,
  send: (bytes: Uint8Array) => void
): MseHandshake.Established | undefined => MseHandshake.advance(self, chunk, () => step(self, send))

/** The next state, or the end; `undefined` until more has arrived. */
const step = (self: MseInitiator, send: (bytes: Uint8Array) => void): State | MseHandshake.Established | undefined => {
  const { arrived, state } = self
  switch (state._tag) {
    case "Key": {
      if (Handshake.isBeginning(MseHandshake.bytesOf(arrived))) throw new NotIntroduced({ reason: "answered in plain" })
      const theirs = MseHandshake.take(arrived, DiffieHellman.keyLength)
      return theirs && answerKey(self, theirs, send)
    }
    case "Mark":
      return MseHandshake.skipPast(arrived, state.mark) ? { _tag: "Method", ciphers: state.ciphers } : undefined
    case "Method": {
      const chosen = MseHandshake.take(arrived, 6, state.ciphers.fromAcceptor)
      if (chosen === undefined) return undefined
      const method = Bytes.readUint32Unsafe(chosen, 0)
      const isOne = method === MseHandshake.method.plain || method === MseHandshake.method.rc4
      if (!isOne || (method & self.options.methods) === 0) throw new NotIntroduced({ reason: "bad method" })
      return { _tag: "Padding", length: MseHandshake.paddingLength(chosen, 4), method, ciphers: state.ciphers }
    }
    case "Padding": {
      const { fromAcceptor, fromDialler } = state.ciphers
      if (MseHandshake.take(arrived, state.length, fromAcceptor) === undefined) return undefined
      const rest = MseHandshake.bytesOf(arrived)
      if (state.method === MseHandshake.method.plain) return { send: undefined, receive: undefined, rest }
      MseHandshake.applyInPlace(fromAcceptor, rest)
      return { send: fromDialler, receive: fromAcceptor, rest }
    }
  }
}

const answerKey = (
  { options, privateKey }: MseInitiator,
  theirs: Uint8Array,
  send: (bytes: Uint8Array) => void
): State => {
  const { diffieHellman, infoHash, methods, payload, random } = options
  const secret = MseHandshake.agree(diffieHellman, privateKey, theirs)
  const ciphers = MseKeys.ciphers(secret, infoHash)
  const padding = MseHandshake.padding(random)
  const encrypted = Bytes.concat([
    MseHandshake.verification,
    MseHandshake.number(4, methods),
    MseHandshake.number(2, padding.length),
    padding,
    MseHandshake.number(2, payload.length),
    payload
  ])
  MseHandshake.applyInPlace(ciphers.fromDialler, encrypted)
  send(Bytes.concat([MseKeys.mark(secret), MseKeys.masked(MseKeys.nameOf(infoHash), secret), encrypted]))
  const mark = MseHandshake.verification.slice()
  MseHandshake.applyInPlace(ciphers.fromAcceptor, mark)
  return { _tag: "Mark", mark, ciphers }
}
