/**
 * The other side of a measurement, in a process of its own: peers on loopback that keep nothing.
 *
 *   node scripts/growth/peers.ts seeds COUNT SHAPE ["silent"]
 *   node scripts/growth/peers.ts leeches COUNT SHAPE PORT
 *
 * Seeds print the addresses they listen at as one JSON line; `silent` ones never unchoke anybody. Leeches download
 * everything from a port of 127.0.0.1, print `{}` and end. All end when standard input closes.
 */
import * as Net from "node:net"
import * as Effect from "effect/Effect"
import * as PeerId from "../../src/base/PeerId.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import * as Pattern from "./pattern.ts"

process.stdin.on("end", () => process.exit()).resume()

const [role, countText, shapeText, more] = process.argv.slice(2) as [string, string, string, string | undefined]
const count = Number(countText)
const shape = JSON.parse(shapeText) as Pattern.Shape
const { infoHash, layout } = await Effect.runPromise(Pattern.metainfoOf(shape))
const { geometry } = layout

/** Requests that a leech has out. */
const depth = 128

const seeds = Effect.gen(function* () {
  const piece = Pattern.pieceOf(shape)
  const addresses: Array<string> = []
  for (let index = 0; index < count; index++) {
    const { address } = yield* ScriptedPeer.serve({
      infoHash,
      geometry,
      content: (index) => piece.subarray(0, PieceGeometry.pieceSize(geometry, index)),
      behaviour: { seed: index + 1, ...(more === "silent" && { unchokes: "never" }) },
      listen: { host: `127.0.1.${1 + (index % 200)}`, port: 0 }
    })
    addresses.push(`${address.host}:${address.port}`)
  }
  console.log(JSON.stringify(addresses))
  return yield* Effect.never
}).pipe(Effect.scoped, Effect.provide(TcpTransport.layerListener))

const blocksOf = function* (first: number) {
  for (let turn = 0; turn < geometry.pieceCount; turn++) {
    const piece = PieceGeometry.pieceIndexUnsafe(geometry, (first + turn) % geometry.pieceCount)
    const size = PieceGeometry.pieceSize(geometry, piece)
    for (let begin = 0; begin < size; begin += PieceGeometry.blockLength) {
      yield { piece, begin, length: Math.min(PieceGeometry.blockLength, size - begin) }
    }
  }
}

/** Downloads everything once, and begins with a piece of its own. */
const leech = (index: number, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = Net.connect({ host: "127.0.0.1", port, localAddress: `127.0.2.${1 + index}`, noDelay: true })
    const peerId = PeerId.make((bytes) => void crypto.getRandomValues(bytes))
    socket.on("error", reject)
    socket.write(Handshake.encode({ features: Handshake.noFeatures, infoHash, peerId }))
    const out = FrameEncoder.make()
    const blocks = blocksOf(Math.floor((index * geometry.pieceCount) / count))
    const theirs = Handshake.makeDecoder()
    let waiting = 0
    let isChoked = true
    const ask = (): void => {
      while (!isChoked && waiting < depth) {
        const next = blocks.next()
        if (next.done) break
        FrameEncoder.request(out, next.value.piece, next.value.begin, next.value.length)
        waiting++
      }
    }
    const decoder = FrameDecoder.make({
      ...FrameDecoder.ignoreAll,
      unchoke: () => {
        isChoked = false
      },
      choke: () => reject(new Error("a leech was choked")),
      pieceEnd: () => {
        waiting--
      }
    })
    socket.on("data", (bytes) => {
      const isKnown = Handshake.result(theirs) !== undefined
      const taken = isKnown ? 0 : Handshake.push(theirs, bytes)
      if (!isKnown && Handshake.result(theirs) !== undefined) FrameEncoder.interested(out)
      FrameDecoder.push(decoder, bytes.subarray(taken))
      ask()
      if (!FrameEncoder.isEmpty(out)) socket.write(FrameEncoder.take(out))
      else if (!isChoked && waiting === 0) {
        socket.destroy()
        resolve()
      }
    })
  })

if (role === "seeds") Effect.runFork(seeds)
else {
  await Promise.all(Array.from({ length: count }, (_, index) => leech(index, Number(more))))
  console.log("{}")
  process.exit()
}
