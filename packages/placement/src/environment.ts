const NAMES = new Set(
  (
    "PATH HOME USER LANG LC_ALL LC_CTYPE TZ TMPDIR XDG_CACHE_HOME XDG_CONFIG_HOME LD_LIBRARY_PATH LD_PRELOAD GLIBC_TUNABLES " +
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE " +
    "HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy"
  ).split(" "),
);
const PREFIXES = /^(BORA|CUDA|NVIDIA|OMP|MKL|KMP|GOMP|TORCH|PYTORCH|HF|TRANSFORMERS)_/;
const SECRET = /(TOKEN|KEY|SECRET|PASSWORD|POSTGRES|STORE|URL)$/;

/** Tells a trainer's processes from all others, whatever process group they are in: each inherits it. */
export const FOLDER_VARIABLE = "BORA_TRAINER_FOLDER";

/** What a trainer gets of our environment. Secrets stay here: it runs on files of others and reads secrets from files. */
export function trainerEnvironment(ours: NodeJS.ProcessEnv, folder: string): Record<string, string> {
  const allowed = Object.entries(ours).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && !SECRET.test(entry[0]) && (NAMES.has(entry[0]) || PREFIXES.test(entry[0])),
  );
  return { ...Object.fromEntries(allowed), PYTHONUNBUFFERED: "1", [FOLDER_VARIABLE]: folder };
}
