/**
 * A copy of an info dict that peers fill (BEP 9). Plain data and functions; `MetadataExchange.ts` decides who fills it.
 */
import * as MetadataMessage from "../wire/extension/MetadataMessage.ts"

/** Milliseconds that a copy may take, and those for each piece that arrived: 64 KiB a second; doubled likewise. */
export const copyTimeout = 20_000
export const pieceTimeout = 250

/** A copy of the info dict that is being filled. `bytes` is right if its digest is. */
export interface MetadataCopy {
  readonly bytes: Uint8Array
  /** The peer that fills it alone; `undefined` for the shared copy. */
  readonly sole: number | undefined
  /** By piece: the peer that sent it; `undefined` while it is missing. */
  readonly senders: Array<number | undefined>
  /** Pieces that are requested from a peer. */
  readonly asked: Set<number>
  missing: number
  /** No piece before this one is both missing and not requested. */
  next: number
  readonly begunAt: number
  /** By what its time is multiplied. */
  readonly patience: number
  /** Whether its digest is being computed. */
  isVerifying: boolean
}

/**
 * Makes an empty copy of `size` bytes. `sole` is the peer that fills it alone, and `patience` by what its time is
 * multiplied.
 */
export const make = (size: number, sole: number | undefined, patience: number, now: number): MetadataCopy => {
  const count = MetadataMessage.pieceCount(size)
  return {
    bytes: new Uint8Array(size),
    sole,
    senders: new Array<number | undefined>(count).fill(undefined),
    asked: new Set(),
    missing: count,
    next: 0,
    begunAt: now,
    patience,
    isVerifying: false
  }
}

/** Writes a piece that a peer sent. */
export const put = (copy: MetadataCopy, sender: number, piece: number, bytes: Uint8Array): void => {
  copy.asked.delete(piece)
  copy.bytes.set(bytes, piece * MetadataMessage.pieceLength)
  copy.senders[piece] = sender
  copy.missing--
}

/**
 * When a copy is abandoned if it is not complete. Only pieces that arrived extend the time, so that a peer that names a
 * large size and sends little does not hold up others for long.
 */
export const deadline = ({ begunAt, missing, patience, senders }: MetadataCopy): number =>
  begunAt + (copyTimeout + pieceTimeout * (senders.length - missing)) * patience

/** A piece that is missing and not requested, the first; `undefined` if there is none. */
export const nextPiece = (copy: MetadataCopy): number | undefined => {
  if (copy.missing === copy.asked.size) return undefined
  while (copy.senders[copy.next] !== undefined || copy.asked.has(copy.next)) copy.next++
  return copy.next
}

/** A request for a piece is given up, so that it is returned by `nextPiece` again. */
export const release = (copy: MetadataCopy, piece: number): void => {
  copy.asked.delete(piece)
  copy.next = Math.min(copy.next, piece)
}
