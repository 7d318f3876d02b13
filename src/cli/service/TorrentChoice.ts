/**
 * Finds the torrents that a user names: by an info hash, by its first digits, or by a part of the name.
 */
import * as Effect from "effect/Effect"
import * as InfoHash from "../../base/InfoHash.ts"
import type { TorrentItem } from "../../control/api/TorrentModel.ts"
import * as Arguments from "../Arguments.ts"
import { CommandFailed } from "../CommandFailed.ts"
import type { Client } from "./ServiceConnection.ts"
import * as TorrentWords from "./TorrentWords.ts"

/** The most torrents that the service sends at once. */
const pageLength = 1_000

/** How a list is asked for. */
export type Filters = Pick<
  NonNullable<Parameters<Client["torrents"]["list"]>[0]>["query"],
  "sort" | "order" | "kind" | "label" | "search"
>

/**
 * Lists all torrents, page by page, and what is saved and cannot be read. A torrent that is added or removed meanwhile may
 * be missed.
 */
export const listAll = Effect.fnUntraced(function* (client: Client, filters: Filters = {}) {
  const found: Array<TorrentItem> = []
  const known = new Set<string>()
  for (let offset = 0; ; ) {
    const { torrents, total, unreadable } = yield* client.torrents.list({
      query: { ...filters, offset, limit: pageLength }
    })
    for (const torrent of torrents) {
      const key = InfoHash.toHex(torrent.infoHash)
      // Torrents that came meanwhile have moved others to the next page.
      if (known.has(key)) continue
      known.add(key)
      found.push(torrent)
    }
    offset += torrents.length
    if (torrents.length === 0 || offset >= total) return { torrents: found, unreadable }
  }
})

/** The fewest digits of an info hash. */
const minDigits = 4

/** How many torrents are named in an error. */
const maxNamed = 8

/** The torrents that a word may mean. */
const candidatesOf = (word: string, torrents: ReadonlyArray<TorrentItem>): ReadonlyArray<TorrentItem> => {
  const wanted = word.toLowerCase()
  const named = torrents.filter(({ name }) => name === word)
  if (named.length > 0) return named
  const isDigits = wanted.length >= minDigits && /^[0-9a-f]+$/.test(wanted)
  return torrents.filter(
    ({ infoHash, name }) =>
      (isDigits && InfoHash.toHex(infoHash).startsWith(wanted)) || name.toLowerCase().includes(wanted)
  )
}

/** Returns the one torrent that a word means, or why there is not exactly one. */
export const find = (word: string, torrents: ReadonlyArray<TorrentItem>): TorrentItem | string => {
  const found = candidatesOf(word, torrents)
  const [first] = found
  if (first === undefined) return `${word}: there is no such torrent`
  if (found.length === 1) return first
  const named = found
    .slice(0, maxNamed)
    .map((torrent) => `${TorrentWords.shortHash(torrent)} ${TorrentWords.nameOf(torrent)}`)
  const more = found.length > named.length ? `, and ${found.length - named.length} more` : ""
  return `${word}: ${found.length} torrents may be meant: ${named.join(", ")}${more}`
}

/** Returns the torrents that the words mean, each once. Fails if one of them means none, or several. */
export const findAll = Effect.fnUntraced(function* (client: Client, words: ReadonlyArray<string>) {
  const hashes = words.map((word) => (/^[0-9a-f]{40}$/i.test(word) ? InfoHash.fromHex(word) : undefined))
  const isKnown = hashes.every((hash) => hash !== undefined)
  const torrents = isKnown
    ? yield* Effect.forEach(hashes, (infoHash) =>
        Effect.map(client.torrents.get({ params: { infoHash: infoHash! } }), ({ torrent }) => torrent)
      )
    : (yield* listAll(client)).torrents
  const found = new Map<string, TorrentItem>()
  for (const word of words) {
    const one = find(word, torrents)
    if (typeof one === "string") return yield* new CommandFailed({ why: one })
    found.set(InfoHash.toHex(one.infoHash), one)
  }
  return [...found.values()]
})

/** The torrents of the operands, or with `--all` every torrent. Fails with `WrongUsage` without either, or with both. */
export const read = (client: Client, args: Arguments.Arguments) => {
  const isAll = Arguments.has(args, "all")
  if (isAll === args.operands.length > 0) {
    const why = isAll ? "TORRENT and --all cannot be used together" : "TORRENT is missing; use --all for every torrent"
    return Effect.fail(new Arguments.WrongUsage(why))
  }
  return isAll ? Effect.map(listAll(client), ({ torrents }) => torrents) : findAll(client, args.operands)
}
