/**
 * What happens in a service, as server-sent events.
 */
import * as Schema from "effect/Schema"
import { EventId, EventsMissed, SessionEvent } from "../../session/SessionStatus.ts"

const text = <A, I>(schema: Schema.Codec<A, I>) => Schema.fromJsonString(Schema.toCodecJson(schema))

/**
 * The schema of an event, whose `id` is for `Last-Event-ID`. `missed` says that events before it are not known any more,
 * as after a restart of the service: whoever keeps a list of torrents should ask for it anew.
 */
export const ServerEvent = Schema.Union([
  Schema.Struct({ id: EventId, event: Schema.Literal("torrent"), data: text(SessionEvent) }),
  Schema.Struct({ id: EventId, event: Schema.Literal("missed"), data: text(EventsMissed) })
])

/** Something that happened in a service. */
export type ServerEvent = typeof ServerEvent.Type
