/**
 * Defines the version of piecewise and the name by which it introduces itself to others.
 */

/** The major, minor and patch version, the same as in `package.json`. */
export const version = "0.1.0"

/**
 * The name and version that HTTP servers and peers see, and that new torrent files record as their author. Private
 * trackers decide by it which clients they admit.
 */
export const userAgent = `piecewise/${version}`
