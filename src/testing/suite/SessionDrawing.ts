/** Torrents of sessions for tests, and sessions as JSON, for tests that compare them. */
import * as Schema from "effect/Schema"
import type { InfoHash } from "../../base/InfoHash.ts"
import * as Saved from "../../session/SavedTorrent.ts"
import type { SavedSession } from "../../session/SessionStore.ts"

/** An info hash of 20 times the same byte. */
export const hashOf = (byte: number): InfoHash => new Uint8Array(20).fill(byte) as InfoHash

/** A torrent that is running and has done nothing, with its position as its name, and its info hash made of it. */
export const torrentOf = (position: number, parts: Partial<Saved.SavedTorrent> = {}): Saved.SavedTorrent => ({
  infoHash: hashOf(position),
  name: `torrent ${position}`,
  position,
  wanted: { _tag: "Running" },
  labels: [],
  options: {},
  addedAtMillis: 1_000 + position,
  completedAtMillis: undefined,
  progress: undefined,
  statistics: Saved.noStatistics,
  ...parts
})

/** The content of a torrent that was added by its file, whose bytes these are. */
export const contentOf = (
  bytes: ReadonlyArray<number>,
  files: Saved.SavedFiles = Saved.noFiles
): Saved.SavedContent => ({
  source: { _tag: "Metainfo", bytes: Uint8Array.from(bytes) },
  files
})

const encodeTorrent = Schema.encodeSync(Schema.toCodecJson(Saved.SavedTorrent))
const encodeLabel = Schema.encodeSync(Schema.toCodecJson(Saved.SavedLabel))
const encodeTrackerGoal = Schema.encodeSync(Schema.toCodecJson(Saved.TrackerGoal))
const encodeLimits = Schema.encodeSync(Schema.toCodecJson(Saved.SessionLimits))
const encodeContent = Schema.encodeSync(Schema.toCodecJson(Saved.SavedContent))

/** As JSON, without what is absent: some stores keep that it is, and some do not. */
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value), (_, part) => (part === null ? undefined : part))

/** A session as JSON, with its labels in the order of their names and its goals in that of their hosts. */
export const drawSession = ({ labels, limits, torrents, trackerGoals }: Omit<SavedSession, "unreadable">): unknown =>
  plain({
    torrents: torrents.map((torrent) => encodeTorrent(torrent)),
    labels: labels.toSorted((one, other) => (one.name < other.name ? -1 : 1)).map((label) => encodeLabel(label)),
    trackerGoals: trackerGoals
      .toSorted((one, other) => (one.host < other.host ? -1 : 1))
      .map((goal) => encodeTrackerGoal(goal)),
    limits: encodeLimits(limits)
  })

/** A content as JSON; `undefined` if there is none. */
export const drawContent = (content: Saved.SavedContent | undefined): unknown =>
  content && plain(encodeContent(content))
