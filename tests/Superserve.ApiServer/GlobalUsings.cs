global using System.Text.Json.Nodes;
global using Superserve.ApiServer.Documents;
global using Superserve.ApiServer.Serving;
