/**
 * The HTTP API of a service, as a value from which its server, its client and its OpenAPI document are made.
 *
 * JSON in and out; errors have a `_tag` and a `message` (`ApiErrors.ts`, `../security/Refused.ts`). Files of torrents
 * are streamed below `/v1/torrents/INFO_HASH/content/`, as `TorrentHttp` serves them, and metrics are at `/metrics`;
 * neither is part of this value.
 */
import * as HttpApi from "effect/http-api/HttpApi"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Version from "../../base/Version.ts"
import { Access, Anybody, Form } from "./Access.ts"
import * as ApiDocument from "./ApiDocument.ts"
import { HealthApi } from "./HealthApi.ts"
import { LabelsApi } from "./LabelsApi.ts"
import { LoginApi } from "./LoginApi.ts"
import { ServiceApi } from "./ServiceApi.ts"
import { TorrentsApi } from "./TorrentsApi.ts"

/** The HTTP API of a service. */
export const ControlApi = HttpApi.make("piecewise")
  .add(
    TorrentsApi.middleware(Form).middleware(Access).prefix("/v1"),
    LabelsApi.middleware(Form).middleware(Access).prefix("/v1"),
    ServiceApi.middleware(Form).middleware(Access).prefix("/v1"),
    LoginApi.middleware(Form).middleware(Anybody).prefix("/v1"),
    HealthApi.middleware(Form)
  )
  .annotateMerge(
    OpenApi.annotations({
      title: "piecewise",
      version: Version.version,
      description: "Controls a service that downloads and seeds torrents.",
      transform: ApiDocument.complete
    })
  )

/** The type of the HTTP API of a service. */
export type ControlApi = typeof ControlApi
