/**
 * What the OpenAPI document of the API says besides what its schemas say. Pure.
 *
 * A parameter in a URL is a text there, and the schemas describe which texts. Tools that make clients want its type.
 * Objects may get more members in a later version, so none is closed. What members and parameters mean is in
 * docstrings, which no client sees, so the words that a reader of the document needs most are here.
 */

interface Known {
  readonly components?: unknown
  readonly enum?: unknown
  readonly name?: unknown
  readonly parameters?: unknown
  readonly paths?: unknown
  readonly pattern?: unknown
  readonly properties?: unknown
  readonly schema?: unknown
  readonly schemas?: unknown
}

type Json = Readonly<Record<string, unknown>> & Known

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** What parameters mean, by their names. */
export const parameters: Readonly<Record<string, string>> = {
  infoHash: "The info hash of the torrent: 40 hexadecimal digits",
  file: "The index of the file, as the list of files has it",
  offset: "How many torrents of the list come before the page; default 0",
  limit: "The most items of the answer; default 100",
  sort: "By what the list is sorted; default queue, the order in which torrents get a place",
  order: "The direction; default ascending",
  kind: "Only torrents that do this",
  label: "Only torrents with this label",
  search: "Only torrents with this part of a name, in either case",
  since: "The revision of an earlier answer",
  data: "Whether the files of the torrent are deleted too; default false",
  folder: "The folder for its files: absolute, or below that of the service",
  labels: "The names of its labels, in the order in which their defaults apply",
  isPaused: "Whether it is added paused; default false",
  place: "Where it is put in the queue; default last",
  name: "The name of the label",
  host: "The host of the tracker, without a port",
  "last-event-id": "The id of the last event that was received"
}

/** What members mean, by the names of their schemas. */
export const members: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  TorrentItem: {
    name: "The best name that is known; a stranger's text",
    position: "Torrents are queued in the order of their positions",
    labels: "The names of its labels, in the order in which their defaults apply",
    trackerHosts: "The hosts of its trackers, if they are known",
    addedAtMillis: "When it was added, in milliseconds since 1970",
    completedAtMillis: "When everything that is wanted was stored for the first time",
    progress: "How far it is, in bytes; absent while the metadata of a magnet link is not known",
    statistics: "What it has done in all runs",
    state: "What it is doing; state.state is the engine's word for it while it is active",
    shareRatio: "Uploaded bytes divided by wanted bytes, in all runs",
    downloadBytesPerSecond: "Over the last few seconds",
    uploadBytesPerSecond: "Over the last few seconds",
    connectedPeers: "Peers that it is connected to"
  },
  TorrentPage: {
    revision: "Ask changes with it for what is different later",
    total: "How many torrents there are with the filters, on all pages",
    unreadable: "What was saved and cannot be read; it stays as it is"
  },
  TorrentChanges: {
    revision: "What to ask with the next time",
    isAll: "Whether the earlier revision is not known any more: torrents are then all that there are",
    torrents: "Torrents that are new or look different",
    removed: "Info hashes of torrents that are gone"
  },
  TorrentDetails: {
    metainfo: "What its metainfo says, without the files; absent while that is not known",
    engine: "What the engine says, while it is there"
  },
  ServiceStatus: {
    directory: "The folder that torrents are stored in, unless they have their own",
    torrents: "How many torrents there are of each kind",
    port: "The port for peers, if it listens",
    freeBytes: "Bytes that are free on the disk of that folder, if that is known"
  },
  ServiceLimits: {
    downloads: "How many torrents may download at once; absent for no limit",
    seeds: "How many torrents may seed at once; absent for no limit",
    downloadBytesPerSecond: "Of all torrents together; absent for no limit",
    uploadBytesPerSecond: "Of all torrents together; absent for no limit"
  },
  StoredPieces: {
    stored: "A bit for each piece, the first one the highest of the first byte, in base64"
  },
  StreamLink: { path: "The list of the files, relative to the URL of the service; the path of a file can be added" },
  Action: { failure: "The _tag of the error, if it failed" }
}

/** The text of a number, as the schemas of parameters describe it. */
const numberPattern = /\\d\+\(\?:\\\.\\d\+\)\?/

const isBoolean = (values: unknown): boolean =>
  Array.isArray(values) && values.length === 2 && values.includes("true") && values.includes("false")

/** The bounds of numbers in URLs, other than 0 and more. */
const bounds: Readonly<Record<string, Json>> = { limit: { minimum: 1, maximum: 1_000 } }

/** The schema of a parameter, with its type in place of that of its text. */
const typed = (name: string, schema: Json): Json => {
  if (isBoolean(schema.enum)) return { type: "boolean" }
  if (typeof schema.pattern !== "string" || !numberPattern.test(schema.pattern)) return schema
  return { type: "integer", minimum: 0, ...bounds[name] }
}

const parameterOf = (parameter: Json): Json => {
  const name = String(parameter.name)
  const schema = isObject(parameter.schema) ? typed(name, parameter.schema) : parameter.schema
  return { ...parameter, schema, description: parameters[name] }
}

/** A schema and all within it, open for more members. */
const opened = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(opened)
  if (!isObject(value)) return value
  const entries = Object.entries(value).filter(([key, inner]) => key !== "additionalProperties" || inner !== false)
  return Object.fromEntries(entries.map(([key, inner]) => [key, opened(inner)]))
}

const described = (name: string, schema: unknown): unknown => {
  const words = members[name]
  if (words === undefined || !isObject(schema) || !isObject(schema.properties)) return schema
  const properties = Object.entries(schema.properties).map(([key, inner]) => {
    const description = words[key]
    return [key, description === undefined || !isObject(inner) ? inner : { ...inner, description }]
  })
  return { ...schema, properties: Object.fromEntries(properties) }
}

const operationOf = (operation: unknown): unknown =>
  isObject(operation) && Array.isArray(operation.parameters)
    ? { ...operation, parameters: operation.parameters.map(parameterOf) }
    : operation

/** The document that is served, from that which was made of the schemas. */
export const complete = (document: Json): Json => {
  const { components, paths, ...rest } = opened(document) as Json
  const schemas = isObject(components) && isObject(components.schemas) ? components.schemas : {}
  return {
    ...rest,
    paths: Object.fromEntries(
      Object.entries(paths as Json).map(([path, operations]) => [
        path,
        Object.fromEntries(Object.entries(operations as Json).map(([method, one]) => [method, operationOf(one)]))
      ])
    ),
    components: {
      ...(isObject(components) && components),
      schemas: Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, described(name, schema)]))
    }
  }
}
