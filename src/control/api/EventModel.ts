/**
 * What happens in a service, as server-sent events.
 */
import * as Schema from "effect/Schema"
import { SessionEvent } from "../../session/SessionStatus.ts"

const text = <A, I>(schema: Schema.Codec<A, I>) => Schema.fromJsonString(Schema.toCodecJson(schema))

/**
 * The schema of an event. `id` is for `Last-Event-ID`. `missed` comes first if what followed that event is not known any
 * more, as after a restart of the service: whoever keeps a list of torrents should ask for it anew.
 */
export const ServerEvent = Schema.Union([
  Schema.Struct({ id: Schema.optional(Schema.String), event: Schema.Literal("torrent"), data: text(SessionEvent) }),
  Schema.Struct({ id: Schema.optional(Schema.String), event: Schema.Literal("missed"), data: text(Schema.Struct({})) })
])

/** Something that happened in a service. */
export type ServerEvent = typeof ServerEvent.Type
