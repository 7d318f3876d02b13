/**
 * How long a torrent's metadata may be: a metainfo file, and the info dict in it, whether it is read from disk, fetched
 * over HTTP or from peers (BEP 9), or made.
 */

/**
 * The most bytes of metadata, unless a program sets another limit: 64 MiB. That is 2,097,152 digests of pieces and 24
 * MiB for everything else. It limits what a stranger can make us hold.
 */
export const defaultMaxBytes = 67_108_864

/** Says that metadata exceeds `maxBytes`, in words that fit after the name of a file or peer and a colon. */
export const whyTooLong = (maxBytes: number): string =>
  `its metadata is longer than ${(maxBytes / 1_048_576).toLocaleString("en", { maximumFractionDigits: 1 })} MiB, the most that is accepted`
