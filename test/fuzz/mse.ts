/**
 * Fuzzes the two machines of Message Stream Encryption. Its seeds are what they received in real handshakes with
 * libtorrent and with ourselves (`recordMse.ts`), each as it crossed the network, and also decrypted: what becomes of
 * that is encrypted again, so that lengths and methods have any value.
 */
import { readFileSync } from "node:fs"
import * as Bytes from "../../src/base/Bytes.ts"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as DiffieHellman from "../../src/connect/mse/DiffieHellman.ts"
import * as MseHandshake from "../../src/connect/mse/MseHandshake.ts"
import * as MseInitiator from "../../src/connect/mse/MseInitiator.ts"
import * as MseKeys from "../../src/connect/mse/MseKeys.ts"
import * as MseResponder from "../../src/connect/mse/MseResponder.ts"
import * as Rc4 from "../../src/connect/mse/Rc4.ts"
import { NotIntroduced } from "../../src/connect/NotIntroduced.ts"
import * as NodeDiffieHellman from "../../src/connect/provider/node/NodeDiffieHellman.ts"
import type { Fuzzed, Seed, Target } from "./Fuzz.ts"

/** A handshake of one of our machines: what it drew at random and what it received, in hex. */
export interface Exchange {
  /** Whose handshake was received. */
  readonly of: string
  readonly role: "initiator" | "responder"
  readonly infoHash: string
  readonly random: string
  readonly received: string
}

const exchanges: ReadonlyArray<Exchange> = JSON.parse(
  readFileSync(new URL("../fixtures/mse/exchanges.json", import.meta.url), "utf8")
)

const node = NodeDiffieHellman.make()

/** Keeps what it has computed for the keys of the seeds, which most inputs begin with. */
const remembering = (maxKept: number): DiffieHellman.DiffieHellman => {
  const kept = new Map<string, Uint8Array>()
  const remember = (key: string, compute: () => Uint8Array): Uint8Array => {
    const found = kept.get(key) ?? compute()
    if (kept.size < maxKept) kept.set(key, found)
    return found
  }
  return {
    publicKey: (privateKey) => remember(Bytes.toHex(privateKey), () => node.publicKey(privateKey)),
    agree: (privateKey, theirs) =>
      remember(Bytes.toHex(privateKey) + Bytes.toHex(theirs), () => node.agree(privateKey, theirs))
  }
}

const diffieHellman = remembering(256)

/** Repeats what was drawn, and afterwards one byte. A private key of zeros would be degenerate. */
const replaying = (drawn: Uint8Array): DiffieHellman.RandomBytes => {
  let begin = 0
  return (length) => {
    const bytes = new Uint8Array(length).fill(0x5a)
    bytes.set(drawn.subarray(begin, begin + length))
    begin += length
    return bytes
  }
}

/** The most bytes that a side may hold besides the latest chunk: a first payload and what is around it. */
const maxHeld = 65_535 + 2 + 512 + 14

/** The most bytes that a side may send: a key, the longest padding twice, and the fields and first payload behind it. */
const maxSent = 96 + 512 + 40 + 14 + 512 + 2 + 68

/** What happens in every handshake, in order, by the state that a machine waits in. */
const steps = {
  initiator: ["Key", "Mark", "Method", "Padding", "end"],
  responder: ["Unknown", "Key", "Mark", "Name", "Methods", "Padding", "Payload", "end"]
} as const

const methodName = (method: number): string => (method === MseHandshake.method.plain ? "plain" : "RC4")

/** Gives the chunks to a machine. Each state that it has left counts as a branch. */
const drive = (exchange: Exchange, isRequired: boolean, input: Uint8Array, { cut, visit }: Fuzzed): void => {
  const { role } = exchange
  const random = replaying(Bytes.fromHex(exchange.random)!)
  const infoHash = Bytes.fromHex(exchange.infoHash) as InfoHash
  const name = MseKeys.nameOf(infoHash)
  const find = (asked: Uint8Array) => (Bytes.equals(asked, name) ? infoHash : undefined)
  const methods = isRequired ? MseHandshake.method.rc4 : MseHandshake.anyMethod
  const payload = new Uint8Array(68)
  let sent = 0
  const send = (bytes: Uint8Array) => {
    sent += bytes.length
    if (sent > maxSent) throw new Error(`it sends ${sent} bytes`)
  }
  const machine =
    role === "initiator"
      ? MseInitiator.make({ diffieHellman, random, infoHash, methods, payload })
      : MseResponder.make({ diffieHellman, random, find, isRequired })
  let end: MseHandshake.Established | MseResponder.Accepted | undefined
  let pushed = 0
  try {
    for (const chunk of cut(input)) {
      const before = chunk.slice()
      end = "privateKey" in machine ? MseInitiator.push(machine, chunk, send) : MseResponder.push(machine, chunk, send)
      if (!Bytes.equals(before, chunk)) throw new Error("it changes what arrived")
      pushed += chunk.length
      const held = machine.arrived.end - machine.arrived.begin
      if (held > maxHeld + chunk.length) throw new Error(`it holds ${held} bytes`)
      if (machine.arrived.buffer.length > 2 * (maxHeld + chunk.length)) throw new Error("its buffer is too long")
      if (end !== undefined) break
    }
  } finally {
    const { state } = machine
    const isPlain = end !== undefined && "isEncrypted" in end && !end.isEncrypted
    if (isPlain) visit("responder: no encryption")
    else {
      const reached: ReadonlyArray<string> = steps[role]
      const last = end === undefined ? reached.indexOf(state._tag) : reached.length - 1
      for (const step of reached.slice(0, last)) visit(`${role}: ${step} passed`)
      if ("method" in state) visit(`${role}: ${methodName(state.method)} chosen`)
      if (end !== undefined) visit(`${role}: established, ${end.send === undefined ? "plain" : "RC4"}`)
      if (end !== undefined && end.rest.length > 0) visit(`${role}: bytes behind`)
    }
  }
  if (end !== undefined && end.rest.length > pushed) throw new Error("it returns more than has arrived")
}

/** Where the encrypted part begins in what was received, and the cipher at its start. */
const encryptedPart = (exchange: Exchange): { readonly begin: number; readonly cipher: () => Rc4.Rc4 } | undefined => {
  if (exchange.random === "") return undefined
  const [received, random] = [Bytes.fromHex(exchange.received)!, Bytes.fromHex(exchange.random)!]
  const infoHash = Bytes.fromHex(exchange.infoHash) as InfoHash
  const privateKey = random.subarray(0, DiffieHellman.privateKeyLength)
  const secret = node.agree(privateKey, received.subarray(0, DiffieHellman.keyLength))
  const isInitiator = exchange.role === "initiator"
  const cipher = () => MseKeys.ciphers(secret, infoHash)[isInitiator ? "fromAcceptor" : "fromDialler"]
  const mark = isInitiator ? new Uint8Array(8) : MseKeys.mark(secret)
  if (isInitiator) Rc4.apply(cipher(), mark, mark)
  let at = DiffieHellman.keyLength
  while (!Bytes.equals(received.subarray(at, at + mark.length), mark)) at++
  return { begin: isInitiator ? at : at + mark.length + 20, cipher }
}

const recode = (bytes: Uint8Array, begin: number, cipher: Rc4.Rc4): Uint8Array => {
  const coded = bytes.slice()
  const part = coded.subarray(begin)
  Rc4.apply(cipher, part, part)
  return coded
}

const seedsOf = (exchange: Exchange): ReadonlyArray<Seed> => {
  const received = Bytes.fromHex(exchange.received)!
  const part = encryptedPart(exchange)
  return [false, true].flatMap((isRequired) => {
    const name = `${exchange.of}${isRequired ? ", encryption required" : ""}`
    const raw: Seed = { name, bytes: received, decode: (input, fuzzed) => drive(exchange, isRequired, input, fuzzed) }
    if (part === undefined) return [raw]
    const { begin, cipher } = part
    const decrypted: Seed = {
      name: `${name}, decrypted`,
      bytes: recode(received, begin, cipher()),
      decode: (input, fuzzed) => drive(exchange, isRequired, recode(input, begin, cipher()), fuzzed)
    }
    return [raw, decrypted]
  })
}

const passed = Object.entries(steps).flatMap(([role, names]) =>
  names.slice(0, -1).map((name) => `${role}: ${name} passed`)
)

/** The machines of Message Stream Encryption. */
export const mse: Target = {
  name: "mse",
  seeds: exchanges.flatMap(seedsOf),
  refusal: (error) => (error instanceof NotIntroduced ? error.reason : undefined),
  branches: [
    ...passed,
    "responder: no encryption",
    ...["initiator", "responder"].flatMap((role) => [
      `${role}: plain chosen`,
      `${role}: RC4 chosen`,
      `${role}: established, plain`,
      `${role}: established, RC4`,
      `${role}: bytes behind`
    ])
  ]
}
