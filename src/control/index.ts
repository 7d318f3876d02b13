/**
 * The entry point for programs that control a service over HTTP: `piecewise/control`. It has the contract of its API and
 * the client that is derived from it, and loads no engine: it works in a page too. What serves the API is in
 * `piecewise/control/server`.
 */

export * as Access from "./api/Access.ts"
export * as ApiErrors from "./api/ApiErrors.ts"
export * as ApiOptions from "./api/ApiOptions.ts"
export * as ControlApi from "./api/ControlApi.ts"
export * as EventModel from "./api/EventModel.ts"
export * as HealthApi from "./api/HealthApi.ts"
export * as LabelsApi from "./api/LabelsApi.ts"
export * as LoginApi from "./api/LoginApi.ts"
export * as ServiceApi from "./api/ServiceApi.ts"
export * as TorrentModel from "./api/TorrentModel.ts"
export * as TorrentsApi from "./api/TorrentsApi.ts"
export * as ControlClient from "./ControlClient.ts"
export * as Caller from "./security/Caller.ts"
export * as Logins from "./security/Logins.ts"
export * as Refused from "./security/Refused.ts"
