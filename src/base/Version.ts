/**
 * The version of piecewise, and the names that show it to others. `package.json` has the same.
 */

/** Major, minor and patch. */
export const version = "0.1.0"

/** The name and version in announces and torrent files. Private trackers admit clients by it. */
export const userAgent = `piecewise/${version}`
