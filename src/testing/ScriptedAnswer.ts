/**
 * How a scripted peer answers a request: with the block, changed as its behaviour says. Plain; the answer is appended
 * to the session's frames.
 */
import * as Bitfield from "../base/Bitfield.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import type { Request, Session } from "./ScriptedSession.ts"

/**
 * Answers are sent in batches of this many bytes, seven blocks. A write costs as much as encoding ten blocks, but
 * memory above 128 KiB comes fresh from the system each time: seeding 1 GiB over TCP took 15 us of CPU a block with
 * seven, 17 with four and 18 with sixteen (two shared and busy x64 cores, Node 24), at 500 to 870 MiB/s.
 */
export const batchBytes = 7 * (PieceGeometry.blockLength + 13)

/** Appends the answer to a request. */
export const append = (session: Session, { begin, length, piece }: Request): void => {
  const { behaviour, out, random } = session
  const { geometry } = session.options
  session.answered++
  let block = session.contentOf(piece).subarray(begin, begin + length)
  const isWrong = isCorrupt(session, piece, begin, length)
  if (isWrong) block = withFlippedBit(block, random)
  if (out.length === 0) FrameEncoder.ensureRoom(out, Math.min(batchBytes, (session.queue.length + 1) * (length + 13)))

  const { misanswers } = behaviour
  switch (misanswers !== undefined && session.answered % misanswers.every === 0 ? misanswers.how : "properly") {
    case "unaligned":
      send(session, piece, begin + 1, block, true)
      break
    case "short":
      send(session, piece, begin, block.subarray(0, length - 1), true)
      break
    case "long":
      send(session, piece, begin, Uint8Array.from([...block, 0]), true)
      break
    case "other piece":
      send(session, (piece + 1) % geometry.pieceCount, begin, block, true)
      break
    case "out of range":
      send(session, geometry.pieceCount, begin, block, true)
      break
    case "duplicate":
      send(session, piece, begin, block, isWrong)
      send(session, piece, begin, block, true)
      break
    case "unrequested": {
      send(session, piece, begin, block, isWrong)
      const held = Array.from(Bitfield.indices(session.has))
      const other = PieceGeometry.pieceIndexUnsafe(geometry, held[Prng.between(random, 0, held.length - 1)]!)
      const blockIndex = Prng.between(random, 0, PieceGeometry.blockCount(geometry, other) - 1)
      const at = blockIndex * PieceGeometry.blockLength
      send(session, other, at, session.contentOf(other).subarray(at, at + PieceGeometry.blockLength), true)
      break
    }
    default:
      send(session, piece, begin, block, isWrong)
  }
  if (behaviour.disconnects !== undefined && random() < behaviour.disconnects) session.ended = true
}

const send = (session: Session, piece: number, begin: number, block: Uint8Array, isWrong: boolean): void => {
  const { counters } = session
  FrameEncoder.piece(session.out, piece, begin, block)
  counters.blocks++
  counters.blockBytes += block.length
  if (isWrong) counters.wrongBlocks++
}

const isCorrupt = (session: Session, piece: PieceGeometry.PieceIndex, begin: number, length: number): boolean => {
  const { corrupts } = session.behaviour
  if (corrupts === undefined) return false
  if (corrupts === "every block") return true
  if (corrupts === "last block") return begin + length === PieceGeometry.pieceSize(session.options.geometry, piece)
  if ("pieces" in corrupts) return corrupts.pieces.includes(piece)
  if ("probability" in corrupts) return session.random() < corrupts.probability
  const block = begin >>> PieceGeometry.blockShift
  return corrupts.blocks.some((one) => one.piece === piece && one.block === block)
}

const withFlippedBit = (block: Uint8Array, random: Prng.Prng): Uint8Array => {
  const flipped = block.slice()
  flipped[Prng.between(random, 0, flipped.length - 1)]! ^= 1 << Prng.between(random, 0, 7)
  return flipped
}
