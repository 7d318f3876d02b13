/**
 * Torrents that the simulations share, and the seed of their runs.
 */
import * as Effect from "effect/Effect"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

/** Makes a torrent for a single simulation. */
export const make = (options: KnownTorrent.Options) =>
  Effect.runPromise(Effect.provide(KnownTorrent.make(options), WebCryptoPieceHasher.layer))

/** 20 pieces of 4 blocks over three files, one of them empty; the last piece and block are short. */
export const small = await make({
  pieceLength: 65_536,
  files: [
    { path: ["a.bin"], length: 500_000 },
    { path: ["empty"], length: 0 },
    { path: ["b", "c.bin"], length: 19 * 65_536 + 20_001 - 500_000 }
  ]
})

/** A torrent of the same shape, with other content and another name. */
export const other = await make({
  name: "other",
  seed: 2,
  pieceLength: 32_768,
  files: [{ path: [], length: 30 * 32_768 - 1 }]
})

const { PIECEWISE_SEED = "1" } = process.env

/** The seed of the runs: `PIECEWISE_SEED`, so that a report can be replayed, or a fixed one. */
export const seed = Number(PIECEWISE_SEED)
