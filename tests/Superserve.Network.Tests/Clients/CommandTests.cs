using Superserve.Testing;

namespace Superserve.Network.Tests.Clients;

/// <summary>Programs that are run by their names.</summary>
[Collection(ClientCollection.Name)]
public sealed class CommandTests(ClientSandbox sandbox)
{
    /// <summary>curl's arguments for a request with the stand-in; a path follows.</summary>
    internal const string AsApi = "-H \"Authorization: Bearer $API_TOKEN\" https://api.example.com";

    internal const string Wget = "wget -qO- --header=\"Authorization: Bearer $API_TOKEN\" https://api.example.com/hello";

    /// <summary>Installs into a folder of its own.</summary>
    internal const string Pip = "PIP_CONFIG_FILE=/dev/null pip --quiet --retries 0 --disable-pip-version-check --no-cache-dir install --root-user-action=ignore --target $HOME/packages --index-url https://__token__:$INDEX_TOKEN@index.example.com/simple superserve-demo";

    /// <summary>Installs into a new folder, without the settings of this machine.</summary>
    internal const string Npm = "cd $(mktemp -dp $HOME); echo '//registry.npmjs.org/:_authToken=${NPM_TOKEN}' > .npmrc; echo {} > package.json; npm install --globalconfig=/dev/null --cache=.cache --silent --fetch-retries=0 --no-audit --no-fund --no-update-notifier superserve-demo@1.0.0";

    /// <summary>Signing takes the key itself, which no proxy can put in: it asks without.</summary>
    internal const string Aws = "export AWS_DEFAULT_REGION=us-east-1; aws --endpoint-url https://storage.example.com --no-sign-request s3api list-buckets --query 'Buckets[].Name' --output text";

    [Theory]
    [InlineData("--http1.1")]
    [InlineData("--http2")]
    public async Task Curl_asks_for_the_head_alone(string version)
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync($"curl -sS -m 20 {version} -I -o /dev/null -w '%{{http_code}} %{{size_download}}' {AsApi}/hello");
        Assert.Equal("200 0\n", output);
        Assert.Equal("HEAD", Assert.Single(requests).Method);
    }

    [Theory]
    [InlineData("--http1.1")]
    [InlineData("--http2")]
    public async Task Curl_gets_the_part_that_it_asks_for(string version)
    {
        (string output, _) = await sandbox.RunAsync($"curl -sS -m 20 {version} -r 2-4 -w ' %{{http_code}} %header{{content-range}}' {AsApi}/range");
        Assert.Equal("cde 206 bytes 2-4/10\n", output);
    }

    [Theory]
    [InlineData("--http1.1")]
    [InlineData("--http2")]
    public async Task Curl_shows_a_stream_as_it_comes(string version)
    {
        (string output, _) = await sandbox.RunAsync($"curl -sSN -m 50 {version} {AsApi}/events | while read line; do echo $line; case $line in *one) curl -sSf -m 20 {AsApi}/release; echo; esac; done");
        Assert.Equal("data: one\nreleased\n\ndata: two\n\n", output);
    }

    [Fact]
    public async Task Curl_that_expects_100_Continue_is_told_to_go_on_and_uploads()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync(
            $"head -c 3000000 /dev/urandom > $HOME/upload; curl -sSv -m 60 --expect100-timeout 50 --http1.1 -H 'Expect: 100-continue' -T $HOME/upload {AsApi}/echo -o $HOME/back 2>$HOME/log; cmp $HOME/upload $HOME/back; grep -o '^< HTTP/1.1 [0-9]*' $HOME/log");
        Assert.Equal("< HTTP/1.1 100\n< HTTP/1.1 200\n", output);
        Assert.Single(requests);
    }

    [Fact]
    public async Task Curl_that_expects_100_Continue_gets_a_refusal_of_the_service_and_keeps_its_body()
    {
        (string output, _) = await sandbox.RunAsync($"head -c 3000000 /dev/zero | curl -sS -m 60 --expect100-timeout 50 --http1.1 -H 'Expect: 100-continue' -T - -o /dev/null -w '%{{http_code}} %{{size_upload}}' {AsApi}/too-large");
        Assert.Equal("413 0\n", output);
    }

    [Fact]
    public async Task Wget_downloads()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync(Wget);
        Assert.Equal("hello\n", output);
        Assert.Equal("/hello", Assert.Single(requests).Target);
    }

    [Fact]
    public async Task Npm_installs_a_package_with_a_token()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync($"{Npm} && node -p \"require('superserve-demo')\"");
        Assert.EndsWith("installed\n", output, StringComparison.Ordinal);
        Assert.Equal(["/superserve-demo", "/superserve-demo/-/superserve-demo-1.0.0.tgz"], requests.Select(request => request.Target));
    }

    [Fact]
    public async Task Pip_installs_a_package_from_an_index_with_a_password()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync(Pip + "; PYTHONPATH=$HOME/packages python3 -c 'import superserve_demo'");
        Assert.Equal("installed\n", output);
        Assert.Equal(["/simple/superserve-demo/", "/files/superserve_demo-1.0-py3-none-any.whl"], requests.Select(request => request.Target));
    }

    [Fact]
    public async Task Aws_lists_and_uploads()
    {
        (string output, IReadOnlyList<ReceivedRequest> requests) = await sandbox.RunAsync($"{Aws}; head -c 1000000 /dev/zero | aws --endpoint-url https://storage.example.com --no-sign-request s3 cp - s3://demo/file");
        Assert.Equal("demo\n", output);
        Assert.Equal(["GET /", "PUT /demo/file"], requests.Select(request => $"{request.Method} {request.Target}"));
    }
}
