/**
 * What Node itself can do, as a yardstick: downloads a torrent with sockets, SHA-1 and writes, and nothing else. It
 * trusts its peers, resumes nothing, and has no Effect.
 *
 * `node scripts/bench/bare.ts PLAN FOLDER PEER...`, with the JSON of `content.ts`. Without a folder, as `""`, it only
 * takes bytes, neither hashing nor writing: what the seeder can send.
 */
import { hash } from "node:crypto"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import type { Plan } from "./content.ts"

const blockLength = 16_384
const frameLength = 17
/** Requests in flight per peer, and how many of them are sent together. */
const depth = 256
const batch = 32
const pieceId = 7
/** The most bytes in a write: longer ones cost more (docs/benchmarks.md). */
const longestWrite = 131_072

const [planFile, folder, ...peers] = process.argv.slice(2) as [string, string, ...Array<string>]
const plan = JSON.parse(fs.readFileSync(planFile, "utf8")) as Plan
const { bytes: total, pieceLength } = plan
const digests = Buffer.from(plan.digests, "base64")
const pieceCount = Math.ceil(total / pieceLength)
const keeps = folder !== ""

interface Piece {
  readonly index: number
  readonly length: number
  readonly memory: Buffer
  left: number
}

const sizeOf = (piece: number): number => Math.min(pieceLength, total - piece * pieceLength)

// Each file is made when its first byte is written, and stays open, as there are fewer than the limit of descriptors.
const begins: Array<number> = []
const handles: Array<number | undefined> = []
let end = 0
for (const { length } of plan.files) {
  begins.push(end)
  end += length
}

const handleOf = (index: number): number => {
  const found = handles[index]
  if (found !== undefined) return found
  const place = path.join(folder, plan.files[index]!.path)
  fs.mkdirSync(path.dirname(place), { recursive: true })
  const handle = fs.openSync(place, "w")
  handles[index] = handle
  return handle
}

/** The last file that begins at or before a byte. */
const fileAt = (at: number): number => {
  let [low, high] = [0, begins.length - 1]
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if (begins[middle]! <= at) low = middle
    else high = middle - 1
  }
  return low
}

const free: Array<Buffer> = []
const buffers = Math.max(20, (16 * 1_048_576) / pieceLength) + peers.length
for (let index = 0; index < buffers; index++) free.push(Buffer.allocUnsafeSlow(pieceLength))
const connections: Array<() => void> = []
let nextPiece = 0
let stored = 0

const finish = ({ index, length, memory }: Piece): void => {
  if (!keeps) return release(memory)
  const bytes = memory.subarray(0, length)
  if (digests.compare(hash("sha1", bytes, "buffer"), 0, 20, index * 20, index * 20 + 20) !== 0) {
    throw new Error(`piece ${index} is wrong`)
  }
  let pending = 1
  const written = (error?: Error | null): void => {
    if (error) throw error
    if (--pending === 0) release(memory)
  }
  const from = index * pieceLength
  for (let at = from; at < from + length; ) {
    const file = fileAt(at)
    const fileEnd = begins[file]! + plan.files[file]!.length
    const count = Math.min(from + length, fileEnd, at + longestWrite) - at
    pending++
    fs.write(handleOf(file), bytes, at - from, count, at - begins[file]!, written)
    at += count
  }
  written()
}

const release = (memory: Buffer): void => {
  free.push(memory)
  if (++stored < pieceCount) {
    for (const fill of connections) fill()
    return
  }
  if (keeps) for (const [index, file] of plan.files.entries()) if (file.length === 0) handleOf(index)
  console.log("done")
  process.exit()
}

const handshake = (): Buffer => {
  const bytes = Buffer.alloc(68)
  bytes[0] = 19
  bytes.write("BitTorrent protocol", 1, "latin1")
  bytes.write(plan.infoHash, 28, "hex")
  bytes.write(`-BN0001-${String(process.pid).padStart(12, "0")}`, 48, "latin1")
  return bytes
}

const connect = (address: string): void => {
  const colon = address.lastIndexOf(":")
  const pieces = new Map<number, Piece>()
  const head = Buffer.alloc(68)
  let current: Piece | undefined
  let asked = 0
  let inFlight = 0
  let isChoked = true

  const fill = (): void => {
    if (isChoked || inFlight > depth - batch) return
    const frames = Buffer.allocUnsafe((depth - inFlight) * frameLength)
    let at = 0
    while (inFlight < depth) {
      if (current === undefined) {
        const memory = nextPiece < pieceCount ? free.pop() : undefined
        if (memory === undefined) break
        const length = sizeOf(nextPiece)
        current = { index: nextPiece++, length, memory, left: length }
        pieces.set(current.index, current)
        asked = 0
      }
      const length = Math.min(blockLength, current.length - asked)
      at = frames.writeUInt32BE(13, at)
      at = frames.writeUInt8(6, at)
      at = frames.writeUInt32BE(current.index, at)
      at = frames.writeUInt32BE(asked, at)
      at = frames.writeUInt32BE(length, at)
      asked += length
      inFlight++
      if (asked === current.length) current = undefined
    }
    if (at > 0) socket.write(frames.subarray(0, at))
  }

  // What is collected next: so many bytes of a head, then a block that goes to its place, or bytes that nobody reads.
  let needed = 68
  let have = 0
  let isGreeted = false
  let block: Piece | undefined
  let place = 0
  let left = 0
  const nextFrame = (): void => {
    needed = 4
    have = 0
  }
  const onHead = (): void => {
    if (!isGreeted) {
      isGreeted = true
      return nextFrame()
    }
    const length = head.readUInt32BE(0)
    if (needed === 4) {
      if (length === 0) return nextFrame()
      needed = 5
      return
    }
    if (needed === 5) {
      if (head[4] === pieceId) {
        needed = 13
        return
      }
      if (head[4] === 0) isChoked = true
      left = length - 1
      if (head[4] === 1) {
        isChoked = false
        fill()
      }
      return nextFrame()
    }
    block = pieces.get(head.readUInt32BE(5))!
    place = head.readUInt32BE(9)
    left = length - 9
    nextFrame()
  }
  const onBytes = (bytes: Uint8Array): void => {
    for (let at = 0; at < bytes.length; ) {
      if (left === 0) {
        const count = Math.min(needed - have, bytes.length - at)
        for (let byte = 0; byte < count; byte++) head[have + byte] = bytes[at + byte]!
        have += count
        at += count
        if (have === needed) onHead()
        continue
      }
      const count = Math.min(left, bytes.length - at)
      if (block !== undefined) {
        if (keeps) block.memory.set(bytes.subarray(at, at + count), place)
        place += count
        block.left -= count
      }
      at += count
      left -= count
      if (left > 0 || block === undefined) continue
      inFlight--
      if (block.left === 0) {
        pieces.delete(block.index)
        finish(block)
      }
      block = undefined
      fill()
    }
  }

  const socket = net.connect({
    host: address.slice(0, colon),
    port: Number(address.slice(colon + 1)),
    noDelay: true,
    onread: {
      buffer: Buffer.allocUnsafeSlow(262_144),
      callback: (count, buffer) => {
        onBytes(buffer.subarray(0, count))
        return true
      }
    }
  })
  socket.write(handshake())
  // Interested.
  socket.write(Buffer.from([0, 0, 0, 1, 2]))
  connections.push(fill)
}

for (const peer of peers) connect(peer)
