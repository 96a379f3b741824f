using System.Text;

namespace Superserve.ApiServer.Serving;

/// <summary>A file with which kubectl and client libraries find the server.</summary>
internal static class Kubeconfig
{
    public static void Write(string file, Uri server, string authorityPem, string user, string token)
    {
        JsonObject config = new()
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Config",
            ["clusters"] = new JsonArray(new JsonObject
            {
                ["name"] = "superserve",
                ["cluster"] = new JsonObject
                {
                    ["server"] = server.GetLeftPart(UriPartial.Authority),
                    ["certificate-authority-data"] = Convert.ToBase64String(Encoding.ASCII.GetBytes(authorityPem)),
                },
            }),
            ["users"] = new JsonArray(new JsonObject { ["name"] = user, ["user"] = new JsonObject { ["token"] = token } }),
            ["contexts"] = new JsonArray(new JsonObject { ["name"] = user, ["context"] = new JsonObject { ["cluster"] = "superserve", ["user"] = user, ["namespace"] = "default" } }),
            ["current-context"] = user,
        };
        if (Path.GetDirectoryName(Path.GetFullPath(file)) is { } directory) Directory.CreateDirectory(directory);

        // Written beside and moved, so that who waits for the file finds it whole; it holds a token.
        string fresh = file + ".new";
        FileStreamOptions options = new() { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using (FileStream stream = new(fresh, options))
        {
            stream.Write(Encoding.UTF8.GetBytes(Yaml.Write(config)));
        }

        File.Move(fresh, file, overwrite: true);
    }
}
