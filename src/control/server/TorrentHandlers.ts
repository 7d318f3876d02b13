/**
 * What the operations on torrents do.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Option from "effect/Option"
import type { PiecePriority } from "../../assembly/PiecePriority.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import * as MetainfoSummary from "../../metainfo/MetainfoSummary.ts"
import * as TorrentFile from "../../metainfo/TorrentFile.ts"
import { type AddError, type AddOptions, Session } from "../../session/Session.ts"
import { NotOpened, type SessionTorrent } from "../../session/SessionTorrent.ts"
import * as Errors from "../api/ApiErrors.ts"
import { ControlApi } from "../api/ControlApi.ts"
import type { TorrentSource } from "../api/TorrentModel.ts"
import { Tickets } from "../security/Tickets.ts"
import * as TorrentUrl from "../TorrentUrl.ts"
import * as ActionLog from "./ActionLog.ts"
import * as Failing from "./Failing.ts"
import * as TorrentList from "./TorrentList.ts"

const fetched = (client: HttpClient.HttpClient, source: TorrentSource) => {
  switch (source._tag) {
    case "Magnet":
      return Effect.succeed<TorrentUrl.Source>({ magnet: source.link })
    case "Metainfo":
      return Effect.succeed<TorrentUrl.Source>({ metainfo: source.bytes })
    case "Url":
      return TorrentUrl.source(source.url).pipe(
        Effect.provideService(HttpClient.HttpClient, client),
        Effect.mapError(({ message }) => new Errors.SourceUnavailable({ message }))
      )
  }
}

const notAdded = (error: AddError) => {
  const { message } = error
  switch (error._tag) {
    case "piecewise/AlreadyInSession":
      return new Errors.TorrentExists({ infoHash: error.infoHash, message })
    case "piecewise/SessionStoreError":
      return new Errors.StoreFailed({ message })
    case "piecewise/OptionRefused":
      return new Errors.RequestRefused({ message })
    default:
      return new Errors.SourceRefused({ message })
  }
}

/** How long a client waits for something that may take hours, to learn what fails at once. */
const patience = "2 seconds"

/** The handlers of the group `torrents`. */
export const layer = HttpApiBuilder.group(
  ControlApi,
  "torrents",
  Effect.fnUntraced(function* (handlers) {
    const session = yield* Session
    const tickets = yield* Tickets
    const client = yield* HttpClient.HttpClient
    const scope = yield* Effect.scope

    /** Calls `use` with a torrent, and makes its errors those of the API. */
    const withTorrent = <A, E extends Parameters<ReturnType<typeof Failing.of>>[0], R>(
      { infoHash }: { readonly infoHash: InfoHash },
      use: (torrent: SessionTorrent) => Effect.Effect<A, E, R>
    ) => Effect.mapError(Effect.flatMap(session.get(infoHash), use), Failing.of(infoHash))

    const add = (source: TorrentUrl.Source, options: AddOptions) =>
      session.add(source, options).pipe(
        Effect.tapErrorTag("piecewise/AlreadyInSession", ({ infoHash }) => ActionLog.about(infoHash)),
        Effect.mapError(notAdded),
        Effect.tap(({ infoHash }) => ActionLog.about(infoHash)),
        Effect.flatMap(({ infoHash, status }) => Effect.mapError(status, Failing.of(infoHash))),
        // Somebody else has removed it at once.
        Effect.catchTag("piecewise/TorrentNotFound", ({ message }) =>
          Effect.fail(new Errors.SourceRefused({ message }))
        )
      )

    /** The metainfo of a torrent; fails while it is not known. */
    const metainfoOf = (torrent: SessionTorrent) =>
      Effect.flatMap(torrent.metainfo, (found) =>
        Option.match(found, {
          onNone: () =>
            Effect.fail(new NotOpened({ infoHash: torrent.infoHash, why: "its metadata is not known yet" })),
          onSome: Effect.succeed
        })
      )

    const noFile = ({ infoHash }: SessionTorrent, file: number) =>
      new Errors.FileNotFound({ infoHash, file, message: `the torrent has no file ${file}` })

    /** Begins a recheck. The state of the torrent says how far it is. */
    const beginRecheck = ({ recheck }: SessionTorrent) =>
      Effect.forkIn(
        Effect.catchCause(recheck, (cause) => Effect.logWarning("a recheck failed", cause)),
        scope
      )

    return handlers.handleAll({
      list: ({ query }) => Effect.map(session.list, (list) => TorrentList.pageOf(list, query)),
      changes: ({ query }) => session.changes(query.since),
      add: ({ payload: { options, source, ...rest } }) =>
        Effect.flatMap(fetched(client, source), (found) => add(found, { ...options, ...rest })),
      addFile: ({ payload, query }) => add({ metainfo: payload }, query),
      get: ({ params }) =>
        withTorrent(params, (torrent) =>
          Effect.gen(function* () {
            const status = yield* torrent.status
            const metainfo = Option.getOrUndefined(yield* torrent.metainfo)
            const opened = Option.getOrUndefined(yield* torrent.torrent)
            const engine = opened && (yield* opened.status)
            return { torrent: status, metainfo: metainfo && MetainfoSummary.of(metainfo), engine }
          })
        ),
      update: ({ params, payload: { labels, options } }) =>
        withTorrent(params, (torrent) =>
          Effect.gen(function* () {
            if (labels !== undefined) yield* torrent.setLabels(labels)
            if (options !== undefined) yield* torrent.setOptions(options)
            return yield* torrent.status
          })
        ),
      remove: ({ params, query }) => withTorrent(params, (torrent) => torrent.remove({ data: query.data ?? false })),
      pause: ({ params }) => withTorrent(params, (torrent) => torrent.pause),
      resume: ({ params, payload }) => withTorrent(params, (torrent) => torrent.resume(payload ?? {})),
      recheck: ({ params }) =>
        withTorrent(params, (torrent) => Effect.asVoid(Effect.andThen(metainfoOf(torrent), beginRecheck(torrent)))),
      move: ({ params, payload }) => withTorrent(params, (torrent) => torrent.move(payload.place)),
      setFolder: ({ params, payload }) =>
        withTorrent(params, (torrent) =>
          // The move goes on when nobody waits for it. What fails at once is said at once.
          Effect.map(Effect.timeoutOption(torrent.moveTo(payload.folder), patience), (done) => ({
            isDone: Option.isSome(done)
          }))
        ),
      files: ({ params }) => withTorrent(params, (torrent) => Effect.andThen(metainfoOf(torrent), torrent.files)),
      setFiles: ({ params, payload }) =>
        withTorrent(params, (torrent) =>
          Effect.gen(function* () {
            const { layout } = yield* metainfoOf(torrent)
            const wrong = payload.files.find(({ index }) => index >= layout.files.length)
            if (wrong !== undefined) return yield* noFile(torrent, wrong.index)
            yield* torrent.setFiles((files) => {
              const priorities = layout.files.map((): PiecePriority => "normal")
              for (const { index, priority } of [...files, ...payload.files]) priorities[index] = priority
              return Effect.succeed(priorities)
            })
          })
        ),
      renameFile: ({ params, payload }) =>
        withTorrent(params, (torrent) =>
          Effect.gen(function* () {
            const { layout } = yield* metainfoOf(torrent)
            if (params.file >= layout.files.length) return yield* noFile(torrent, params.file)
            yield* torrent.renameFile(params.file, payload.path)
          })
        ),
      peers: ({ params }) =>
        withTorrent(params, (torrent) =>
          Effect.flatMap(
            torrent.torrent,
            Option.match({ onNone: () => Effect.succeed([]), onSome: ({ peers }) => peers })
          )
        ),
      addPeers: ({ params, payload }) =>
        withTorrent(params, (torrent) =>
          Effect.flatMap(
            torrent.torrent,
            Option.match({
              onNone: () => Effect.fail(new NotOpened({ infoHash: params.infoHash, why: "it is not active" })),
              onSome: ({ addPeers }) => addPeers(payload.addresses)
            })
          )
        ),
      trackers: ({ params }) =>
        withTorrent(params, (torrent) =>
          Effect.gen(function* () {
            const metainfo = Option.getOrUndefined(yield* torrent.metainfo)
            const opened = Option.getOrUndefined(yield* torrent.torrent)
            const sources = opened === undefined ? [] : yield* opened.sources
            return { trackers: metainfo?.trackers ?? [], sources }
          })
        ),
      pieces: ({ params }) =>
        withTorrent(params, (torrent) =>
          Effect.gen(function* () {
            const { geometry } = (yield* metainfoOf(torrent)).layout
            const stored = yield* torrent.stored
            return {
              pieceLength: geometry.pieceLength,
              totalPieces: geometry.pieceCount,
              storedPieces: stored.count,
              stored: stored.bytes
            }
          })
        ),
      metainfo: ({ params }) => withTorrent(params, (torrent) => Effect.map(metainfoOf(torrent), TorrentFile.encode)),
      link: ({ params }) =>
        withTorrent(params, ({ infoHash }) =>
          Effect.map(tickets.make(infoHash), (ticket) => ({ path: `v1/stream/${ticket}/` }))
        )
    })
  })
)
