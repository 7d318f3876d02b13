/**
 * Records handshakes of Message Stream Encryption with libtorrent and with ourselves, for `mse.ts`: `node
 * test/fuzz/recordMse.ts PYTHON`, with the Python of the interop tests. Writes `test/fixtures/mse/exchanges.json`.
 *
 * An exchange is what one of our machines drew at random and what it received, so that it can be repeated.
 */
import { spawn } from "node:child_process"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import * as Effect from "effect/Effect"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PeerId } from "../../src/base/PeerId.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as MseHandshake from "../../src/connect/mse/MseHandshake.ts"
import * as MseInitiator from "../../src/connect/mse/MseInitiator.ts"
import * as MseResponder from "../../src/connect/mse/MseResponder.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { diffieHellman } from "../connect/mse/handshakes.ts"
import type { Exchange } from "./mse.ts"

const root = path.resolve(import.meta.dirname, "..", "..")
const python = process.argv[2]!

const folder = await mkdtemp(path.join(tmpdir(), "piecewise-mse-"))
const known = await Effect.runPromise(
  Effect.provide(
    KnownTorrent.make({ name: "mse", files: [{ path: ["one.bin"], length: 65_536 }], pieceLength: 16_384 }),
    NodePieceHasher.layer
  )
)
const { infoHash } = known.metainfo
await mkdir(path.join(folder, "mse"), { recursive: true })
await writeFile(path.join(folder, "mse", "one.bin"), known.fileContent(0))
await writeFile(path.join(folder, "mse.torrent"), known.bytes)

const payload = Handshake.encode({
  infoHash,
  peerId: Bytes.fromText("-PW0000-recorded0000") as PeerId,
  features: Handshake.noFeatures
})

/** Random bytes that are recorded. */
const recording = (seed: number) => {
  const bytes = Prng.bytesOf(Prng.make(seed))
  const drawn: Array<Uint8Array> = []
  const random = (length: number) => {
    const next = bytes(length)
    drawn.push(next)
    return next
  }
  return { random, drawn: () => Bytes.toHex(Bytes.concat(drawn)) }
}

const exchanges: Array<Exchange> = []

/** Runs a machine over a socket until a moment after its handshake has ended. */
const record = async (
  socket: Net.Socket,
  exchange: Omit<Exchange, "random" | "received">,
  { drawn }: ReturnType<typeof recording>,
  push: (chunk: Uint8Array, send: (bytes: Uint8Array) => void) => object | undefined
) => {
  const received: Array<Uint8Array> = []
  let isDone = false
  socket.on("error", () => {})
  socket.on("data", (chunk) => {
    received.push(Uint8Array.from(chunk))
    isDone ||= push(chunk, (bytes) => socket.write(bytes)) !== undefined
  })
  for (let turn = 0; turn < 100 && !isDone; turn++) await sleep(50)
  await sleep(200)
  socket.destroy()
  if (!isDone) throw new Error(`${exchange.of} did not end its handshake`)
  exchanges.push({ ...exchange, random: drawn(), received: Bytes.toHex(Bytes.concat(received)) })
}

/** Runs libtorrent until `use` ends. */
const libtorrent = async <A>(args: ReadonlyArray<string>, use: (port: number) => Promise<A>): Promise<A> => {
  const script = path.join(root, "test", "interop", "libtorrent_peer.py")
  const child = spawn(python, [script, "mse.torrent", ".", "--seed", "--encryption", "forced", ...args], {
    cwd: folder,
    stdio: ["pipe", "pipe", "inherit"]
  })
  try {
    const line = await new Promise<string>((resolve) => child.stdout.once("data", (text) => resolve(String(text))))
    return await use(JSON.parse(line).port)
  } finally {
    child.stdin.end()
  }
}

const initiatorOf = (random: (length: number) => Uint8Array) =>
  MseInitiator.make({ diffieHellman, random, infoHash, methods: MseHandshake.anyMethod, payload })

const responderOf = (random: (length: number) => Uint8Array) =>
  MseResponder.make({ diffieHellman, random, find: () => infoHash, isRequired: false })

const common = { infoHash: Bytes.toHex(infoHash) }

for (const [seed, level] of ["plaintext", "rc4", "both"].entries()) {
  await libtorrent(["--level", level], async (port) => {
    const socket = Net.connect(port, "127.0.0.1")
    const source = recording(100 + seed)
    const machine = initiatorOf(source.random)
    socket.write(machine.first)
    const of = `libtorrent that accepts, ${level}`
    await record(socket, { ...common, of, role: "initiator" }, source, (chunk, send) =>
      MseInitiator.push(machine, chunk, send)
    )
  })
  const server = Net.createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const called = new Promise<Net.Socket>((resolve) => server.once("connection", resolve))
  const address = `127.0.0.1:${(server.address() as Net.AddressInfo).port}`
  await libtorrent(["--level", level, "--dial", "--peer", address], async () => {
    const source = recording(200 + seed)
    const machine = responderOf(source.random)
    const of = `libtorrent that dials, ${level}`
    await record(await called, { ...common, of, role: "responder" }, source, (chunk, send) =>
      MseResponder.push(machine, chunk, send)
    )
  })
  server.close()
}

for (const seed of [300, 302]) {
  const [ours, theirs] = [recording(seed), recording(seed + 1)]
  const [initiator, responder] = [initiatorOf(ours.random), responderOf(theirs.random)]
  const toResponder = [initiator.first]
  const toInitiator: Array<Uint8Array> = []
  for (let turn = 0; turn < 2; turn++) {
    MseResponder.push(responder, toResponder[turn]!, (bytes) => toInitiator.push(bytes))
    if (turn === 0) MseInitiator.push(initiator, toInitiator[0]!, (bytes) => toResponder.push(bytes))
  }
  const behind = Bytes.fromText("what follows")
  exchanges.push(
    {
      ...common,
      of: "piecewise that accepts",
      role: "initiator",
      random: ours.drawn(),
      received: Bytes.toHex(Bytes.concat([...toInitiator, behind]))
    },
    {
      ...common,
      of: "piecewise that dials",
      role: "responder",
      random: theirs.drawn(),
      received: Bytes.toHex(Bytes.concat([...toResponder, behind]))
    }
  )
}

exchanges.push({
  ...common,
  of: "a peer that does not encrypt",
  role: "responder",
  random: "",
  received: Bytes.toHex(payload)
})

await writeFile(
  path.join(root, "test", "fixtures", "mse", "exchanges.json"),
  `${JSON.stringify(exchanges, undefined, 2)}\n`
)
await rm(folder, { recursive: true })
