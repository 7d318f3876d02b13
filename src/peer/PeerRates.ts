/**
 * How fast a peer sends and receives payload, from its counters once a second: a mean in which the last five seconds
 * count for most. Plain, and two numbers a peer, because every connection has one.
 */

/** The rates of one connection, in bytes a second. */
export interface PeerRates {
  download: number
  upload: number
  downloadedBytes: number
  uploadedBytes: number
  /** When the counters were looked at last, in milliseconds. */
  measuredAt: number
}

/** For how long a second counts, in milliseconds. */
export const memoryMillis = 5_000

/** Makes it for a connection that begins at `now`. */
export const make = (now: number): PeerRates => ({
  download: 0,
  upload: 0,
  downloadedBytes: 0,
  uploadedBytes: 0,
  measuredAt: now
})

/** Takes the counters of the connection at `now`. */
export const measure = (self: PeerRates, downloadedBytes: number, uploadedBytes: number, now: number): void => {
  const millis = now - self.measuredAt
  if (millis <= 0) return
  const weight = 1 - Math.exp(-millis / memoryMillis)
  self.download += weight * (((downloadedBytes - self.downloadedBytes) * 1_000) / millis - self.download)
  self.upload += weight * (((uploadedBytes - self.uploadedBytes) * 1_000) / millis - self.upload)
  self.downloadedBytes = downloadedBytes
  self.uploadedBytes = uploadedBytes
  self.measuredAt = now
}
