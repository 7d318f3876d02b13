/**
 * A part of the list of torrents, as a client asks for it. Pure.
 */
import type { SessionList, SessionStatus } from "../../session/SessionStatus.ts"
import type { Kind, SortKey, TorrentPage } from "../api/TorrentModel.ts"

/** What a client asks for. */
export interface Query {
  readonly offset?: number | undefined
  readonly limit?: number | undefined
  readonly sort?: SortKey | undefined
  readonly order?: "ascending" | "descending" | undefined
  readonly kind?: Kind | undefined
  readonly label?: string | undefined
  readonly search?: string | undefined
}

/** Torrents of a page, unless a client asks for another number. */
const defaultLimit = 100

/** What kind of torrent it is. */
export const kindOf = ({ progress, state }: SessionStatus): Kind => {
  switch (state._tag) {
    case "Active": {
      const { _tag } = state.state
      if (_tag === "Checking") return "checking"
      if (_tag === "Failed" || _tag === "FilesMissing") return "failed"
      return progress?.missingBytes === 0 ? "seeding" : "downloading"
    }
    // It is busy with its files, as one that is verified.
    case "Moving":
      return "checking"
    case "Queued":
      return "queued"
    case "Paused":
    case "Removing":
      return "paused"
    case "Failed":
      return "failed"
    case "GoalReached":
      return "finished"
  }
}

/** The part of the wanted bytes that is stored, from 0 to 1. */
export const fractionOf = ({ progress }: SessionStatus): number => {
  if (progress === undefined) return 0
  const { missingBytes, wantedBytes } = progress
  return wantedBytes === 0 ? 1 : 1 - missingBytes / wantedBytes
}

/** The numbers that keys sort by; `undefined` puts a torrent after all others, in either order. */
const numberBy: { readonly [Key in Exclude<SortKey, "name">]: (status: SessionStatus) => number | undefined } = {
  queue: ({ position }) => position,
  size: ({ progress }) => progress?.totalBytes ?? 0,
  progress: fractionOf,
  added: ({ addedAtMillis }) => addedAtMillis,
  completed: ({ completedAtMillis }) => completedAtMillis,
  ratio: ({ shareRatio }) => shareRatio,
  download: ({ downloadBytesPerSecond }) => downloadBytesPerSecond,
  upload: ({ uploadBytesPerSecond }) => uploadBytesPerSecond
}

const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" })

const comparing = (
  sort: SortKey,
  order: NonNullable<Query["order"]>
): ((one: SessionStatus, other: SessionStatus) => number) => {
  const sign = order === "ascending" ? 1 : -1
  if (sort === "name") return (one, other) => sign * names.compare(one.name, other.name)
  const number = numberBy[sort]
  return (one, other) => {
    const [left, right] = [number(one), number(other)]
    if (left === right) return 0
    if (left === undefined || right === undefined) return left === undefined ? 1 : -1
    return left < right ? -sign : sign
  }
}

/** The part of a list that a client asks for. Torrents that the key does not tell apart are in the order of the queue. */
export const pageOf = (list: SessionList, query: Query): TorrentPage => {
  const { kind, label, limit = defaultLimit, offset = 0, order = "ascending", sort = "queue" } = query
  const search = query.search?.toLowerCase()
  const found = list.torrents.filter(
    (status) =>
      (kind === undefined || kindOf(status) === kind) &&
      (label === undefined || status.labels.includes(label)) &&
      (search === undefined || status.name.toLowerCase().includes(search))
  )
  // The list is in the order of the queue already.
  if (sort !== "queue") {
    found.sort(comparing(sort, order))
  } else if (order === "descending") found.reverse()
  const { revision, unreadable } = list
  return { revision, total: found.length, torrents: found.slice(offset, offset + limit), unreadable }
}
