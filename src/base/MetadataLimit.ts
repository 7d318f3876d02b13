/**
 * How long a torrent's metadata may be: a metainfo file, and the info dict in it, whether it is read from disk, fetched
 * over HTTP or from peers (BEP 9), or made.
 */

/**
 * The most bytes of metadata, unless a program sets another limit: 64 MiB. That is 2,097,152 digests of pieces and 24
 * MiB for everything else. It limits what a stranger can make us hold.
 */
export const defaultMaxBytes = 67_108_864

/**
 * Says that metadata exceeds `maxBytes`, in words that fit after the name of a file or peer and a colon. Formats the
 * number without `Intl`, whose first use takes 15 ms: the command line has this sentence ready in every start.
 */
export const whyTooLong = (maxBytes: number): string =>
  `its metadata is longer than ${Number((maxBytes / 1_048_576).toFixed(1))} MiB, the most that is accepted`

/** The values and keys that metadata of any length may have: as many as in libtorrent. */
const minValues = 3_000_000

/**
 * The most values and keys of metadata of `length` bytes: one for every eight bytes, if that is more than 3,000,000. A
 * file takes seven or eight, and 60 bytes or more with a name of usual length, so the length is what limits the number
 * of files. A value takes 115 bytes of memory at most while metadata is decoded: 1 GB for metadata of 64 MiB that was
 * made for that.
 */
export const maxValues = (length: number): number => Math.max(minValues, Math.floor(length / 8))

/** Says that metadata has more values than `most`, in words that fit after the name of a file or peer and a colon. */
export const whyTooMany = (most: number): string =>
  `its metadata has more than ${most.toLocaleString("en")} values, the most that are accepted for its length`
