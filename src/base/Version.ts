/**
 * Which version of piecewise this is, and the names that tell it to others. `package.json` says the same.
 */

/** Major, minor and patch. */
export const version = "0.1.0"

/** The name and version that trackers and torrent files are told. Private trackers admit clients by it. */
export const userAgent = `piecewise/${version}`
